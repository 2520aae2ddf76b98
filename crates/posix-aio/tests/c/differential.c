/* Asks the functions of aio(7) for everything that has one right answer, good input and bad, and prints what
   they say. Run with the C library's functions and with ours: the two must print the same. */
#define _GNU_SOURCE
#include <aio.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"

#define SIZE 65536

static char file[4200], other[4200];
/* Signals to this thread alone do not reach it (`attached`). */
static int attached;
static char pattern[SIZE];

static const char *name(int error)
{
	static char text[32];
	switch (error) {
	case 0: return "0";
	case EINPROGRESS: return "EINPROGRESS";
	case ECANCELED: return "ECANCELED";
	case EINVAL: return "EINVAL";
	case EBADF: return "EBADF";
	case EAGAIN: return "EAGAIN";
	case EFAULT: return "EFAULT";
	case EINTR: return "EINTR";
	case EIO: return "EIO";
	case EISDIR: return "EISDIR";
	case EPIPE: return "EPIPE";
	case EFBIG: return "EFBIG";
	case ENOSPC: return "ENOSPC";
	case ESPIPE: return "ESPIPE";
	}
	snprintf(text, sizeof text, "errno %d", error);
	return text;
}

/* What a function has returned, and what has become of its block in the end. */
static void say(const char *what, int answer, struct aiocb *cb)
{
	int error = errno;
	printf("%s: %d %s", what, answer, answer == -1 ? name(error) : "-");
	if (cb) {
		if (answer == 0)
			settle(cb);
		printf(", error %s", name(aio_error(cb)));
		printf(", return %zd", aio_return(cb));
	}
	printf("\n");
}

static int open_file(const char *path, int flags)
{
	int fd = open(path, flags, 0600);
	if (fd < 0) {
		perror(path);
		exit(3);
	}
	return fd;
}

static void plain(int sync)
{
	int fd = open_file(file, O_RDWR | O_CREAT | O_TRUNC | sync);
	static char got[SIZE];
	struct aiocb cb = block(fd, pattern, SIZE, 0);
	say("write", aio_write(&cb), &cb);
	cb = block(fd, got, SIZE, 0);
	say("read", aio_read(&cb), &cb);
	printf("same: %d\n", memcmp(got, pattern, SIZE) == 0);
	cb = block(fd, got, SIZE, SIZE / 2);
	say("read over the end", aio_read(&cb), &cb);
	cb = block(fd, got, SIZE, SIZE);
	say("read at the end", aio_read(&cb), &cb);
	cb = block(fd, got, SIZE, 10L * SIZE);
	say("read behind the end", aio_read(&cb), &cb);
	cb = block(fd, pattern, 100, 2L * SIZE);
	say("write behind the end", aio_write(&cb), &cb);
	struct stat st;
	fstat(fd, &st);
	printf("size %ld, position %ld\n", (long)st.st_size, (long)lseek(fd, 0, SEEK_CUR));
	cb = block(fd, got, 0, 0);
	say("read nothing", aio_read(&cb), &cb);
	cb = block(fd, got, 0, 0);
	say("write nothing", aio_write(&cb), &cb);
	cb = block(fd, NULL, 0, 0);
	say("fsync", aio_fsync(O_SYNC, &cb), &cb);
	cb = block(fd, NULL, 0, 0);
	say("fdatasync", aio_fsync(O_DSYNC, &cb), &cb);
	close(fd);
}

static void bad(void)
{
	int fd = open_file(file, O_RDWR | O_CREAT | O_TRUNC);
	int readable = open_file(file, O_RDONLY), writable = open_file(file, O_WRONLY);
	int folder = open_file("/", O_RDONLY | O_DIRECTORY);
	int path = open_file(file, O_PATH);
	char got[16] = "";
	static const int closed[] = { -1, 1000, -100, 0x7fffffff };
	for (size_t at = 0; at < sizeof closed / sizeof *closed; at++) {
		struct aiocb cb = block(closed[at], got, sizeof got, 0);
		say("read of no descriptor", aio_read(&cb), &cb);
		cb = block(closed[at], got, sizeof got, 0);
		say("write to no descriptor", aio_write(&cb), &cb);
		cb = block(closed[at], got, sizeof got, 0);
		say("fsync of no descriptor", aio_fsync(O_SYNC, &cb), &cb);
		say("cancel of no descriptor", aio_cancel(closed[at], NULL), NULL);
		say("cancel of a block of no descriptor", aio_cancel(closed[at], &cb), NULL);
	}
	static const struct { const char *name; long offset; size_t len; } sizes[] = {
		{ "offset -1", -1, 16 }, { "offset -2", -2, 16 }, { "lowest offset", INT64_MIN, 16 },
		{ "highest offset", INT64_MAX, 16 }, { "offset before the highest", INT64_MAX - 16, 16 },
		{ "length -1", 0, SIZE_MAX }, { "highest length", 0, INT64_MAX },
	};
	for (size_t at = 0; at < sizeof sizes / sizeof *sizes; at++) {
		struct aiocb cb = block(fd, got, sizes[at].len, sizes[at].offset);
		printf("%s: ", sizes[at].name);
		say("read", aio_read(&cb), &cb);
		if (sizes[at].len != 16)
			continue;
		cb = block(fd, got, sizes[at].len, sizes[at].offset);
		printf("%s: ", sizes[at].name);
		say("write", aio_write(&cb), &cb);
	}
	struct aiocb cb = block(readable, got, 16, 0);
	say("write to a descriptor for reading", aio_write(&cb), &cb);
	cb = block(writable, got, 16, 0);
	say("read of a descriptor for writing", aio_read(&cb), &cb);
	cb = block(readable, got, 16, 0);
	say("fsync of a descriptor for reading", aio_fsync(O_SYNC, &cb), &cb);
	cb = block(folder, got, 16, 0);
	say("read of a folder", aio_read(&cb), &cb);
	cb = block(folder, got, 16, 0);
	say("fsync of a folder", aio_fsync(O_SYNC, &cb), &cb);
	cb = block(path, got, 16, 0);
	say("read of a path", aio_read(&cb), &cb);
	cb = block(path, got, 16, 0);
	say("fsync of a path", aio_fsync(O_SYNC, &cb), &cb);
	static const int operations[] = { 0, O_RDWR, O_SYNC | O_DSYNC, O_APPEND, -1, O_SYNC ^ O_DSYNC };
	for (size_t at = 0; at < sizeof operations / sizeof *operations; at++) {
		cb = block(fd, NULL, 0, 0);
		printf("operation %#x: ", operations[at]);
		say("fsync", aio_fsync(operations[at], &cb), &cb);
	}
	cb = block(-1, NULL, 0, 0);
	say("fsync, all wrong", aio_fsync(O_RDWR, &cb), &cb);
	static const int priorities[] = { -1, 0, 1, 20, 21, 1000, INT32_MIN, INT32_MAX };
	for (size_t at = 0; at < sizeof priorities / sizeof *priorities; at++) {
		cb = block(fd, got, 16, 0);
		cb.aio_reqprio = priorities[at];
		printf("priority %d: ", priorities[at]);
		say("read", aio_read(&cb), &cb);
		cb = block(fd, got, 16, 0);
		cb.aio_reqprio = priorities[at];
		printf("priority %d: ", priorities[at]);
		say("fsync", aio_fsync(O_SYNC, &cb), &cb);
	}
	write(fd, pattern, 4096);
	cb = block(fd, (void *)8, 4096, 0);
	say("read to nowhere", aio_read(&cb), &cb);
	cb = block(fd, (void *)8, 4096, 0);
	say("write from nowhere", aio_write(&cb), &cb);
	cb = block(fd, (void *)-4096, 4096, 0);
	say("read to the kernel", aio_read(&cb), &cb);
	struct rlimit limit = { 8192, RLIM_INFINITY }, old;
	getrlimit(RLIMIT_FSIZE, &old);
	limit.rlim_max = old.rlim_max;
	signal(SIGXFSZ, SIG_IGN);
	setrlimit(RLIMIT_FSIZE, &limit);
	cb = block(fd, pattern, 8192, 4096);
	say("write over the limit", aio_write(&cb), &cb);
	cb = block(fd, pattern, 8192, 8192);
	say("write behind the limit", aio_write(&cb), &cb);
	setrlimit(RLIMIT_FSIZE, &old);
	int full = open_file("/dev/full", O_RDWR);
	cb = block(full, pattern, 16, 0);
	say("write to a full device", aio_write(&cb), &cb);
	int null = open_file("/dev/null", O_RDWR);
	cb = block(null, got, 16, 0);
	say("read of the null device", aio_read(&cb), &cb);
	cb = block(null, NULL, 0, 0);
	say("fsync of the null device", aio_fsync(O_SYNC, &cb), &cb);
	close(fd), close(readable), close(writable), close(folder), close(path), close(full), close(null);
}

static void unused(void)
{
	struct aiocb cb = block(0, NULL, 0, 0);
	printf("never used: error %s", name(aio_error(&cb)));
	printf(", return %zd\n", aio_return(&cb));
	say("cancel of what was never begun", aio_cancel(0, &cb), NULL);
	say("cancel by another descriptor", aio_cancel(1, &cb), NULL);
	say("cancel of everything of a descriptor without any", aio_cancel(0, NULL), NULL);
	int fd = open_file(file, O_RDONLY);
	char got[16];
	cb = block(fd, got, 16, 0);
	aio_read(&cb);
	settle(&cb);
	say("cancel of what is done", aio_cancel(fd, &cb), NULL);
	say("and by its descriptor", aio_cancel(fd, NULL), NULL);
	printf("return %zd, and again %zd\n", aio_return(&cb), aio_return(&cb));
	close(fd);
	say("cancel after it was closed", aio_cancel(fd, &cb), NULL);
	aio_init(&(struct aioinit){ .aio_threads = 4, .aio_num = 8 });
	aio_init(&(struct aioinit){ .aio_threads = -4, .aio_num = -8 });
}

static volatile sig_atomic_t pipe_signals;

static void on_pipe(int signal)
{
	pipe_signals += signal == SIGPIPE;
}

/* SIGPIPE is for nobody, also where it would end the program: the error says it. */
static void unread(int fd)
{
	struct aiocb cb = block(fd, pattern, 16, 0), *list[] = { &cb };
	sigset_t pipe_set, pending, old;
	signal(SIGPIPE, SIG_DFL);
	say("write that nobody reads", aio_write(&cb), &cb);
	signal(SIGPIPE, on_pipe);
	cb.aio_lio_opcode = LIO_WRITE;
	say("write of a list that nobody reads", lio_listio(LIO_WAIT, list, 1, NULL), NULL);
	printf("error %s, signals %d\n", name(aio_error(&cb)), (int)pipe_signals);
	/* Nor is it left behind for when it is let in. */
	sigemptyset(&pipe_set);
	sigaddset(&pipe_set, SIGPIPE);
	pthread_sigmask(SIG_BLOCK, &pipe_set, &old);
	say("write that nobody reads, blocked", aio_write(&cb), &cb);
	sigpending(&pending);
	printf("pending %d\n", sigismember(&pending, SIGPIPE));
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	printf("signals %d\n", (int)pipe_signals);
	signal(SIGPIPE, SIG_DFL);
	close(fd);
}

static void streams(void)
{
	int ends[2];
	pipe(ends);
	static char got[SIZE];
	struct aiocb cb = block(ends[1], pattern, 100, 50);
	say("write to a pipe", aio_write(&cb), &cb);
	cb = block(ends[0], got, SIZE, 7);
	say("read of a pipe", aio_read(&cb), &cb);
	printf("same: %d\n", memcmp(got, pattern, 100) == 0);
	cb = block(ends[0], got, 16, 0);
	say("fsync of a pipe", aio_fsync(O_SYNC, &cb), &cb);
	/* Reads wait, and are served in their order. */
	struct aiocb reads[8];
	for (int at = 0; at < 8; at++) {
		reads[at] = block(ends[0], got + 10 * at, 10, 0);
		aio_read(&reads[at]);
	}
	printf("waits: %s\n", name(aio_error(&reads[0])));
	write(ends[1], pattern, 80);
	for (int at = 0; at < 8; at++)
		settle(&reads[at]);
	printf("in order: %d\n", memcmp(got, pattern, 80) == 0);
	cb = block(ends[0], got, 16, 0);
	aio_read(&cb);
	close(ends[1]);
	say("read until the end", 0, &cb);
	close(ends[0]);
	pipe(ends);
	close(ends[0]);
	unread(ends[1]);
	socketpair(AF_UNIX, SOCK_STREAM, 0, ends);
	close(ends[0]);
	unread(ends[1]);
	/* More than fits: the write waits, and ends as a whole. */
	pipe(ends);
	static char large[20 * SIZE], copy[20 * SIZE];
	for (size_t at = 0; at < sizeof large; at++)
		large[at] = (char)(at / 999);
	cb = block(ends[1], large, sizeof large, 0);
	int answer = aio_write(&cb);
	for (size_t have = 0; have < sizeof copy;)
		have += (size_t)read(ends[0], copy + have, sizeof copy - have);
	say("write of much to a pipe", answer, &cb);
	printf("same: %d\n", memcmp(large, copy, sizeof copy) == 0);
	close(ends[0]), close(ends[1]);
	pipe2(ends, O_NONBLOCK);
	cb = block(ends[0], got, 16, 0);
	say("read of an empty pipe without waiting", aio_read(&cb), &cb);
	close(ends[0]), close(ends[1]);
	socketpair(AF_UNIX, SOCK_STREAM, 0, ends);
	cb = block(ends[0], pattern, 100, 3);
	say("write to a socket", aio_write(&cb), &cb);
	cb = block(ends[1], got, 100, 4);
	say("read of a socket", aio_read(&cb), &cb);
	struct aiocb waiting = block(ends[1], got, 100, 0);
	aio_read(&waiting);
	shutdown(ends[0], SHUT_WR);
	say("read until it is shut", 0, &waiting);
	close(ends[0]), close(ends[1]);
	int event = eventfd(5, 0);
	uint64_t value = 0;
	cb = block(event, &value, 8, 0);
	say("read of an eventfd", aio_read(&cb), &cb);
	printf("value %lu\n", (unsigned long)value);
	close(event);
}

/* With O_SYNC none ends where it is asked for: they wait for each other. */
static void appending(int flags)
{
	int fd = open_file(other, O_RDWR | O_CREAT | O_TRUNC | O_APPEND | flags);
	enum { WRITES = 200 };
	static struct aiocb cbs[WRITES];
	for (int at = 0; at < WRITES; at++) {
		cbs[at] = block(fd, pattern + at * 100, (size_t)(1 + at % 100), 0);
		if (aio_write(&cbs[at]))
			printf("append %d: %s\n", at, name(errno));
	}
	size_t total = 0;
	static char all[SIZE], got[SIZE];
	for (int at = 0; at < WRITES; at++) {
		settle(&cbs[at]);
		memcpy(all + total, pattern + at * 100, (size_t)aio_return(&cbs[at]));
		total += (size_t)aio_return(&cbs[at]);
	}
	ssize_t have = pread(fd, got, SIZE, 0);
	printf("appended %zu, %zd there, in order: %d\n", total, have, memcmp(all, got, total) == 0);
	close(fd);
}

static volatile sig_atomic_t signals;
static siginfo_t seen;

static void on_signal(int number, siginfo_t *info, void *context)
{
	(void)number, (void)context;
	seen = *info;
	signals++;
}

static sem_t called;
static union sigval told;
static int blocked;

static void on_thread(union sigval value)
{
	sigset_t mask;
	pthread_sigmask(SIG_SETMASK, NULL, &mask);
	blocked = 0;
	for (int number = 1; number < 32; number++)
		blocked += sigismember(&mask, number);
	told = value;
	sem_post(&called);
}

static void say_signal(const char *what)
{
	for (int at = 0; at < 5000 && !signals; at++)
		usleep(1000);
	printf("%s: %d signals, code %d, value %d, own pid %d, own uid %d\n", what, (int)signals, seen.si_code,
		seen.si_value.sival_int, seen.si_pid == getpid(), seen.si_uid == getuid());
	signals = 0;
	memset(&seen, 0, sizeof seen);
}

static void events(void)
{
	struct sigaction action = { .sa_sigaction = on_signal, .sa_flags = SA_SIGINFO };
	sigaction(SIGUSR1, &action, NULL);
	sigaction(SIGRTMIN + 3, &action, NULL);
	sem_init(&called, 0, 0);
	int fd = open_file(file, O_RDWR);
	char got[16];
	int numbers[] = { SIGUSR1, SIGRTMIN + 3 };
	for (int at = 0; at < 2; at++) {
		struct aiocb cb = block(fd, got, 16, 0);
		cb.aio_sigevent.sigev_notify = SIGEV_SIGNAL;
		cb.aio_sigevent.sigev_signo = numbers[at];
		cb.aio_sigevent.sigev_value.sival_int = 42 + at;
		aio_read(&cb);
		settle(&cb);
		say_signal("read with a signal");
		cb.aio_fildes = 1000;
		aio_read(&cb);
		settle(&cb);
		say_signal("failed read with a signal");
		cb.aio_fildes = fd;
		aio_fsync(O_DSYNC, &cb);
		settle(&cb);
		say_signal("fsync with a signal");
	}
	struct aiocb cb = block(fd, got, 16, 0);
	cb.aio_sigevent.sigev_notify = SIGEV_SIGNAL;
	cb.aio_sigevent.sigev_signo = 0;
	say("signal 0", aio_read(&cb), &cb);
	cb = block(fd, got, 16, 0);
	cb.aio_sigevent.sigev_notify = SIGEV_SIGNAL;
	cb.aio_sigevent.sigev_signo = 1000;
	say("signal 1000", aio_read(&cb), &cb);
	cb = block(fd, got, 16, 0);
	cb.aio_sigevent.sigev_notify = 77;
	say("an unknown way to be told", aio_read(&cb), &cb);
	cb = block(fd, got, 16, 0);
	cb.aio_sigevent.sigev_notify = SIGEV_THREAD;
	cb.aio_sigevent.sigev_notify_function = on_thread;
	cb.aio_sigevent.sigev_value.sival_ptr = &cb;
	aio_read(&cb);
	sem_wait(&called);
	printf("thread: value %d, error %s, signals blocked %d\n", told.sival_ptr == &cb, name(aio_error(&cb)), blocked);
	pthread_attr_t attributes;
	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, 1 << 20);
	cb = block(fd, got, 16, 0);
	cb.aio_sigevent.sigev_notify = SIGEV_THREAD;
	cb.aio_sigevent.sigev_notify_function = on_thread;
	cb.aio_sigevent.sigev_notify_attributes = &attributes;
	cb.aio_sigevent.sigev_value.sival_int = 9;
	aio_write(&cb);
	sem_wait(&called);
	printf("thread with attributes: value %d, error %s\n", told.sival_int, name(aio_error(&cb)));
	close(fd);
}

static void lists(void)
{
	int fd = open_file(file, O_RDWR);
	char got[4][16];
	struct aiocb a = block(fd, got[0], 16, 0), b = block(fd, got[1], 16, 16), c = block(-1, got[2], 16, 0);
	struct aiocb nop = block(fd, got[3], 16, 0), wrong = block(fd, got[3], 16, 0);
	a.aio_lio_opcode = LIO_READ, b.aio_lio_opcode = LIO_WRITE, c.aio_lio_opcode = LIO_READ;
	nop.aio_lio_opcode = LIO_NOP, wrong.aio_lio_opcode = 99;
	struct aiocb *two[] = { &a, NULL, &b }, *three[] = { &a, &c, &nop }, *none[] = { NULL, &nop, NULL };
	struct aiocb *bad[] = { &a, &wrong };
	say("list, waited for", lio_listio(LIO_WAIT, two, 3, NULL), NULL);
	printf("%s %zd %s %zd\n", name(aio_error(&a)), aio_return(&a), name(aio_error(&b)), aio_return(&b));
	say("list with a failure", lio_listio(LIO_WAIT, three, 3, NULL), NULL);
	printf("%s", name(aio_error(&c)));
	printf(" %s\n", name(aio_error(&a)));
	say("list of nothing", lio_listio(LIO_WAIT, none, 3, NULL), NULL);
	say("list of none", lio_listio(LIO_WAIT, two, 0, NULL), NULL);
	say("unknown operation", lio_listio(LIO_WAIT, bad, 2, NULL), NULL);
	printf("%s", name(aio_error(&wrong)));
	printf(" %s\n", name(aio_error(&a)));
	say("mode 2", lio_listio(2, two, 3, NULL), NULL);
	say("mode -1", lio_listio(-1, two, 3, NULL), NULL);
	struct sigevent event = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1, .sigev_value.sival_int = 7 };
	say("list, not waited for", lio_listio(LIO_NOWAIT, two, 3, &event), NULL);
	say_signal("list with a signal");
	settle(&a), settle(&b);
	say("list with a failure, not waited for", lio_listio(LIO_NOWAIT, three, 3, &event), NULL);
	say_signal("failed list with a signal");
	settle(&a), settle(&c);
	say("list of nothing, not waited for", lio_listio(LIO_NOWAIT, none, 3, &event), NULL);
	say_signal("empty list with a signal");
	struct aiocb64 *same[] = { (struct aiocb64 *)&a, NULL, (struct aiocb64 *)&b };
	say("list by the name with 64", lio_listio64(LIO_WAIT, same, 3, NULL), NULL);
	printf("%s", name(aio_error64(same[0])));
	printf(" %s\n", name(aio_error64(same[2])));
	say("list by that name, of mode 2", lio_listio64(2, same, 3, NULL), NULL);
	say("list without a signal", lio_listio(LIO_NOWAIT, two, 3, NULL), NULL);
	settle(&a), settle(&b);
	a.aio_reqprio = -1;
	say("list with a bad priority", lio_listio(LIO_WAIT, two, 3, NULL), NULL);
	printf("%s", name(aio_error(&a)));
	printf(" %s\n", name(aio_error(&b)));
	say("list with a bad priority, not waited for", lio_listio(LIO_NOWAIT, two, 3, &event), NULL);
	say_signal("the other's signal");
	struct aiocb *only[] = { &a };
	say("bad priority alone", lio_listio(LIO_WAIT, only, 1, NULL), NULL);
	say("bad priority alone, not waited for", lio_listio(LIO_NOWAIT, only, 1, &event), NULL);
	say_signal("its signal");
	a.aio_reqprio = 0;
	event.sigev_notify = SIGEV_THREAD;
	event.sigev_notify_function = on_thread;
	event.sigev_notify_attributes = NULL;
	event.sigev_value.sival_int = 11;
	say("list with a thread", lio_listio(LIO_NOWAIT, two, 3, &event), NULL);
	sem_wait(&called);
	printf("value %d, %s", told.sival_int, name(aio_error(&a)));
	printf(" %s\n", name(aio_error(&b)));
	a.aio_sigevent.sigev_notify = SIGEV_SIGNAL;
	a.aio_sigevent.sigev_signo = SIGUSR1;
	a.aio_sigevent.sigev_value.sival_int = 3;
	sigset_t own;
	sigemptyset(&own);
	sigaddset(&own, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, &own, NULL); /* it would interrupt the wait */
	say("list with one's own signal", lio_listio(LIO_WAIT, two, 3, NULL), NULL);
	pthread_sigmask(SIG_UNBLOCK, &own, NULL);
	say_signal("its own");
	/* A list of which one waits. */
	int ends[2];
	pipe(ends);
	struct aiocb waits = block(ends[0], got[2], 16, 0);
	a.aio_sigevent.sigev_notify = SIGEV_NONE;
	struct aiocb *mixed[] = { &a, &waits };
	waits.aio_lio_opcode = LIO_READ;
	event.sigev_notify = SIGEV_SIGNAL;
	say("list of which one waits", lio_listio(LIO_NOWAIT, mixed, 2, &event), NULL);
	settle(&a);
	usleep(20000);
	printf("%s, %d signals\n", name(aio_error(&waits)), (int)signals);
	write(ends[1], "x", 1);
	say_signal("when it has ended");
	close(ends[0]), close(ends[1]);
	close(fd);
}

static void *write_later(void *end)
{
	usleep(30000);
	write(*(int *)end, "0123456789", 10);
	return NULL;
}

static pthread_t main_thread;

/* Until it has been of use: the first may come too early. */
static void *kick(void *over)
{
	while (!__atomic_load_n((int *)over, __ATOMIC_SEQ_CST)) {
		usleep(5000);
		pthread_kill(main_thread, SIGUSR1);
	}
	return NULL;
}

static void suspending(void)
{
	int ends[2];
	pipe(ends);
	char got[2][16];
	struct aiocb a = block(ends[0], got[0], 5, 0), b = block(ends[0], got[1], 5, 0), done = block(-1, got, 1, 0);
	const struct aiocb *both[] = { &a, NULL, &b }, *nobody[] = { NULL, NULL }, *some[] = { &a, &done };
	struct timespec none = { 0, 0 }, little = { 0, 20000000 }, negative = { -1, 0 };
	aio_read(&done);
	settle(&done);
	aio_read(&a);
	aio_read(&b);
	say("suspend for no time", aio_suspend(both, 3, &none), NULL);
	say("suspend for a little", aio_suspend(both, 3, &little), NULL);
	say("suspend for a negative time", aio_suspend(both, 3, &negative), NULL);
	say("suspend on one that is done", aio_suspend(some, 2, NULL), NULL);
	say("suspend on none", aio_suspend(both, 0, NULL), NULL);
	say("suspend on -1", aio_suspend(both, -1, NULL), NULL);
	say("suspend on nobody", aio_suspend(nobody, 2, NULL), NULL);
	pthread_t thread;
	main_thread = pthread_self();
	if (!attached) {
		int over = 0;
		pthread_create(&thread, NULL, kick, &over);
		say("suspend, interrupted", aio_suspend(both, 3, NULL), NULL);
		__atomic_store_n(&over, 1, __ATOMIC_SEQ_CST);
		pthread_join(thread, NULL);
		printf("signals: %d\n", signals > 0);
		signals = 0;
	}
	pthread_create(&thread, NULL, write_later, &ends[1]);
	say("suspend until there is something", aio_suspend(both, 3, NULL), NULL);
	pthread_join(thread, NULL);
	settle(&a), settle(&b);
	printf("%.5s%.5s\n", got[0], got[1]);
	close(ends[0]), close(ends[1]);
}

/* Many at a time, each checked. */
static void many(void)
{
	enum { COUNT = 1000, LEN = 4096 };
	int fd = open_file(other, O_RDWR | O_CREAT | O_TRUNC);
	static struct aiocb cbs[COUNT];
	char *bytes = malloc(COUNT * LEN), *got = malloc(COUNT * LEN);
	for (int at = 0; at < COUNT * LEN; at++)
		bytes[at] = (char)(at * 7 + at / LEN);
	for (int at = 0; at < COUNT; at++) {
		cbs[at] = block(fd, bytes + at * LEN, LEN, (off_t)at * LEN);
		if (aio_write(&cbs[at]))
			printf("write %d: %s\n", at, name(errno));
	}
	struct aiocb sync = block(fd, NULL, 0, 0);
	aio_fsync(O_SYNC, &sync);
	settle(&sync);
	int open = 0, wrong = 0;
	for (int at = 0; at < COUNT; at++) {
		open += aio_error(&cbs[at]) == EINPROGRESS;
		wrong += aio_return(&cbs[at]) != LEN;
	}
	printf("after fsync: %d in progress, %d wrong\n", open, wrong);
	for (int at = 0; at < COUNT; at++) {
		cbs[at] = block(fd, got + at * LEN, LEN, (off_t)at * LEN);
		aio_read(&cbs[at]);
	}
	for (int at = 0; at < COUNT; at++) {
		settle(&cbs[at]);
		wrong += aio_return(&cbs[at]) != LEN;
	}
	printf("%d wrong, same: %d\n", wrong, memcmp(bytes, got, COUNT * LEN) == 0);
	free(bytes), free(got);
	close(fd);
}

int main(int argc, char **argv)
{
	if (argc < 2)
		return 3;
	attached = argc > 2;
	setvbuf(stdout, NULL, _IOLBF, 0);
	snprintf(file, sizeof file, "%s/file", argv[1]);
	snprintf(other, sizeof other, "%s/other", argv[1]);
	for (int at = 0; at < SIZE; at++)
		pattern[at] = (char)(at * 31 + at / 256);
	plain(0);
	plain(O_SYNC);
	bad();
	unused();
	streams();
	appending(0);
	appending(O_SYNC);
	events();
	lists();
	suspending();
	many();
	return 0;
}
