/* aio COUNT [then ...]: reads COUNT blocks of this file by aio_read (LIBAIO: io_submit), writes none; then as it is
   told: `fork` does the same in a child, `exec` again in a new image, `daemon` in a process that nobody waits for,
   `threads` in four threads, `pipe` reads a pipe that waits, `bad` a descriptor that there is not, `kill` ends by
   SIGKILL, `guest` says by its status whether it is one: its kernel thread is another then. */
#define _GNU_SOURCE
#ifdef LIBAIO
#include <libaio.h>
#else
#include <aio.h>
#endif
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static int count;
static const char *self;

#ifdef LIBAIO
/* A context of its own for each: a child has none of its parent's. */
static void one(int fd, int error)
{
	char bytes[64];
	io_context_t context = 0;
	struct iocb iocb, *list[] = { &iocb };
	struct io_event event;
	io_prep_pread(&iocb, fd, bytes, sizeof bytes, 0);
	if (io_setup(1, &context))
		exit(10);
	int answer = io_submit(context, 1, list);
	if (answer != (error ? -error : 1))
		exit(11);
	if (answer == 1 && (io_getevents(context, 1, 1, &event, NULL) != 1 || (long)event.res <= 0))
		exit(12);
	if (io_destroy(context))
		exit(13);
}
#else
static void one(int fd, int error)
{
	char bytes[64];
	struct aiocb cb = { .aio_fildes = fd, .aio_buf = bytes, .aio_nbytes = sizeof bytes };
	const struct aiocb *list[] = { &cb };
	cb.aio_sigevent.sigev_notify = SIGEV_NONE;
	if (aio_read(&cb))
		exit(10);
	while (aio_error(&cb) == EINPROGRESS)
		aio_suspend(list, 1, NULL);
	if (aio_error(&cb) != error)
		exit(11);
}
#endif

static void *all(void *nothing)
{
	int fd = open(self, O_RDONLY);
	for (int at = 0; at < count; at++)
		one(fd, 0);
	close(fd);
	return nothing;
}

static void *write_later(void *end)
{
	usleep(20000);
	if (write(*(int *)end, "x", 1) != 1)
		exit(12);
	return NULL;
}

int main(int argc, char **argv)
{
	self = argv[0];
	count = argc > 1 ? atoi(argv[1]) : 0;
	const char *then = argc > 2 ? argv[2] : "";
	all(NULL);
	if (!strcmp(then, "fork")) {
		pid_t child = fork();
		if (child == 0) {
			all(NULL);
			_exit(0);
		}
		int status;
		waitpid(child, &status, 0);
		return status != 0;
	}
	if (!strcmp(then, "exec"))
		execl(self, self, argv[1], NULL);
	if (!strcmp(then, "daemon")) {
		int told[2];
		if (pipe(told) || fork())
			return read(told[0], argv[0], 1) != 1;
		setsid();
		all(NULL);
		return write(told[1], "x", 1) != 1;
	}
	if (!strcmp(then, "threads")) {
		pthread_t ids[4];
		for (int at = 0; at < 4; at++)
			pthread_create(&ids[at], NULL, all, NULL);
		for (int at = 0; at < 4; at++)
			pthread_join(ids[at], NULL);
	}
	if (!strcmp(then, "pipe")) {
		int ends[2];
		pthread_t id;
		if (pipe(ends) || pthread_create(&id, NULL, write_later, &ends[1]))
			return 13;
		one(ends[0], 0);
		pthread_join(id, NULL);
	}
	if (!strcmp(then, "bad"))
		one(999, EBADF);
	if (!strcmp(then, "kill"))
		raise(SIGKILL);
	if (!strcmp(then, "guest"))
		return gettid() == getpid() ? 14 : 0;
	return 0;
}
