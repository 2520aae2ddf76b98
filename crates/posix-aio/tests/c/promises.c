/* What the functions promise beyond those of the C library: requests of one descriptor wait for nobody, and a
   forked child has nothing outstanding. (What is cancelled or refused: refusals.c.)
   promises NAME FOLDER [SLOW]: SLOW is a file each read of which takes 500 ms. Ends with 0, or says what is wrong. */
#define _GNU_SOURCE
#include <aio.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "check.h"

static const char *folder, *slow;

static int scratch(const char *name, int flags)
{
	char path[4200];
	snprintf(path, sizeof path, "%s/%s", folder, name);
	int fd = open(path, flags | O_CREAT, 0600);
	CHECK(fd >= 0);
	return fd;
}

static atomic_int signals;
static siginfo_t seen;

static void on_signal(int number, siginfo_t *info, void *context)
{
	(void)number, (void)context;
	seen = *info;
	signals++;
}

static void expect_signals(int number)
{
	struct sigaction action = { .sa_sigaction = on_signal, .sa_flags = SA_SIGINFO };
	CHECK(sigaction(number, &action, NULL) == 0);
}

static void await_signals(int count)
{
	for (int at = 0; at < 10000 && signals < count; at++)
		usleep(1000);
	CHECK(signals == count);
}

/* A read that waits is cancelled at once, tells as it was asked to, and leaves its buffer alone. */
static void cancel_one(void)
{
	int ends[2];
	CHECK(pipe(ends) == 0);
	char got[4] = "xyz";
	expect_signals(SIGUSR1);
	struct aiocb cb = block(ends[0], got, 3, 0);
	cb.aio_sigevent.sigev_notify = SIGEV_SIGNAL;
	cb.aio_sigevent.sigev_signo = SIGUSR1;
	cb.aio_sigevent.sigev_value.sival_int = 5;
	CHECK(aio_read(&cb) == 0);
	CHECK(aio_error(&cb) == EINPROGRESS);
	CHECK(aio_cancel(ends[0], &cb) == AIO_CANCELED);
	CHECK(aio_error(&cb) == ECANCELED && aio_return(&cb) == -1);
	await_signals(1);
	CHECK(seen.si_code == SI_ASYNCIO && seen.si_value.sival_int == 5);
	CHECK(write(ends[1], "abc", 3) == 3);
	CHECK(aio_cancel(ends[0], &cb) == AIO_ALLDONE);
	CHECK(read(ends[0], got + 1, 2) == 2 && memcmp(got, "xab", 3) == 0);
}

/* All of a descriptor, those that wait for others too; others' stay. */
static void cancel_all(void)
{
	int ends[2], others[2];
	CHECK(pipe(ends) == 0 && pipe(others) == 0);
	static char got[20][8];
	struct aiocb cbs[20];
	for (int at = 0; at < 20; at++) {
		cbs[at] = block(at < 18 ? ends[0] : others[0], got[at], 8, 0);
		CHECK(aio_read(&cbs[at]) == 0);
	}
	struct aiocb sync = block(ends[0], NULL, 0, 0);
	CHECK(aio_fsync(O_SYNC, &sync) == 0);
	CHECK(aio_error(&sync) == EINPROGRESS);
	/* One from the middle first. */
	CHECK(aio_cancel(ends[0], &cbs[7]) == AIO_CANCELED && aio_error(&cbs[7]) == ECANCELED);
	CHECK(aio_error(&cbs[6]) == EINPROGRESS && aio_error(&cbs[8]) == EINPROGRESS);
	CHECK(aio_cancel(ends[0], NULL) == AIO_CANCELED);
	for (int at = 0; at < 18; at++)
		CHECK(aio_error(&cbs[at]) == ECANCELED);
	CHECK(aio_error(&sync) == ECANCELED);
	CHECK(aio_cancel(ends[0], NULL) == AIO_ALLDONE);
	CHECK(aio_error(&cbs[18]) == EINPROGRESS && aio_error(&cbs[19]) == EINPROGRESS);
	CHECK(write(others[1], "0123456789abcdef", 16) == 16);
	CHECK(settle(&cbs[18]) == 0 && settle(&cbs[19]) == 0);
	CHECK(memcmp(got[18], "01234567", 8) == 0 && memcmp(got[19], "89abcdef", 8) == 0);
	/* What was in the middle of the line has not broken it. */
	for (int at = 0; at < 3; at++) {
		cbs[at] = block(ends[0], got[at], 4, 0);
		CHECK(aio_read(&cbs[at]) == 0);
	}
	CHECK(aio_cancel(ends[0], &cbs[1]) == AIO_CANCELED);
	CHECK(write(ends[1], "01234567", 8) == 8);
	CHECK(settle(&cbs[0]) == 0 && settle(&cbs[2]) == 0 && memcmp(got[2], "4567", 4) == 0);
}

/* Reads of one descriptor that take 500 ms each do not take that one after the other, 8 s, nor does asking wait for
   one of them. */
static void together(void)
{
	int fd = open(slow, O_RDONLY);
	CHECK(fd >= 0);
	static char got[16][4096];
	struct aiocb cbs[16];
	double start = now();
	for (int at = 0; at < 16; at++) {
		cbs[at] = block(fd, got[at], 4096, at * 4096);
		CHECK(aio_read(&cbs[at]) == 0);
	}
	double asked = now() - start;
	CHECK(aio_error(&cbs[15]) == EINPROGRESS);
	for (int at = 0; at < 16; at++)
		CHECK(settle(&cbs[at]) == 0 && aio_return(&cbs[at]) == 4096);
	double took = now() - start;
	fprintf(stderr, "asked in %.3f s, done in %.3f s\n", asked, took);
	CHECK(took < 4 && asked < took);
	for (int at = 1; at < 16; at++)
		CHECK(memcmp(got[0], got[at], 4096) != 0);
}

/* A sync waits for what was asked for before it on its descriptor, and not for what came after. */
static void sync_order(void)
{
	int fd = open(slow, O_RDONLY), other = open(slow, O_RDONLY);
	CHECK(fd >= 0 && other >= 0);
	static char got[6][4096];
	struct aiocb before[3], sync[2], elsewhere, after;
	for (int at = 0; at < 3; at++) {
		before[at] = block(fd, got[at], 4096, at * 4096);
		CHECK(aio_read(&before[at]) == 0);
	}
	for (int at = 0; at < 2; at++) {
		sync[at] = block(fd, NULL, 0, 0);
		CHECK(aio_fsync(at ? O_DSYNC : O_SYNC, &sync[at]) == 0);
	}
	elsewhere = block(other, NULL, 0, 0);
	CHECK(aio_fsync(O_SYNC, &elsewhere) == 0);
	int error = settle(&elsewhere);
	CHECK(error == 0 && aio_error(&before[0]) == EINPROGRESS && aio_error(&sync[0]) == EINPROGRESS);
	CHECK(settle(&sync[1]) == 0);
	for (int at = 0; at < 3; at++)
		CHECK(aio_error(&before[at]) == 0 && aio_return(&before[at]) == 4096);
	CHECK(aio_error(&sync[0]) == 0);
	after = block(fd, got[3], 4096, 0);
	struct aiocb first = block(fd, NULL, 0, 0);
	CHECK(aio_fsync(O_SYNC, &first) == 0);
	CHECK(aio_read(&after) == 0);
	CHECK(settle(&first) == 0 && aio_error(&after) == EINPROGRESS);
	CHECK(settle(&after) == 0);
}

/* Syncs that wait together are one, but each has its own answer and may be cancelled while it waits. */
static void joined_syncs(void)
{
	enum { SYNCS = 24 };
	int fd = open(slow, O_RDONLY);
	CHECK(fd >= 0);
	for (int round = 0; round < 4; round++) {
		static char got[4096];
		struct aiocb before = block(fd, got, 4096, 0), syncs[SYNCS];
		CHECK(aio_read(&before) == 0);
		for (int at = 0; at < SYNCS; at++) {
			syncs[at] = block(fd, NULL, 0, 0);
			CHECK(aio_fsync((at + round) % 3 ? O_DSYNC : O_SYNC, &syncs[at]) == 0);
		}
		CHECK(aio_cancel(fd, &syncs[7]) == AIO_CANCELED && aio_error(&syncs[7]) == ECANCELED);
		CHECK(aio_error(&syncs[0]) == EINPROGRESS && aio_error(&before) == EINPROGRESS);
		for (int at = SYNCS - 1; at >= 0; at--)
			CHECK(settle(&syncs[at]) == (at == 7 ? ECANCELED : 0));
		CHECK(aio_error(&before) == 0 && aio_return(&before) == 4096);
	}
}

/* SIGXFSZ would end the program. */
static void size_limit(void)
{
	char path[4096];
	snprintf(path, sizeof path, "%s/limited", folder);
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600), end = open(path, O_WRONLY | O_APPEND);
	CHECK(fd >= 0 && end >= 0);
	static char bytes[8192];
	struct rlimit limit;
	CHECK(getrlimit(RLIMIT_FSIZE, &limit) == 0);
	limit.rlim_cur = 4096;
	CHECK(setrlimit(RLIMIT_FSIZE, &limit) == 0);
	struct aiocb within = block(fd, bytes, 4096, 0), over = block(fd, bytes, 4096, 2048);
	struct aiocb behind = block(fd, bytes, 4096, 4096), append = block(end, bytes, 4096, 0);
	CHECK(aio_write(&within) == 0 && settle(&within) == 0 && aio_return(&within) == 4096);
	CHECK(aio_write(&over) == 0 && settle(&over) == 0 && aio_return(&over) == 2048);
	CHECK(aio_write(&behind) == 0 && settle(&behind) == EFBIG);
	CHECK(aio_write(&append) == 0 && settle(&append) == EFBIG);
}

/* The child has nothing outstanding and can begin anew; the parent's requests are the parent's. */
static void forking(void)
{
	int ends[2];
	CHECK(pipe(ends) == 0);
	char got[4][8];
	struct aiocb cbs[3];
	for (int at = 0; at < 3; at++) {
		cbs[at] = block(ends[0], got[at], 4, 0);
		CHECK(aio_read(&cbs[at]) == 0);
	}
	pid_t child = fork();
	if (child == 0) {
		alarm(30);
		for (int at = 0; at < 3; at++)
			CHECK(aio_error(&cbs[at]) == ECANCELED && aio_return(&cbs[at]) == -1);
		const struct aiocb *list[] = { &cbs[0] };
		CHECK(aio_suspend(list, 1, NULL) == 0);
		CHECK(aio_cancel(ends[0], NULL) == AIO_ALLDONE);
		CHECK(pipe(ends) == 0);
		struct aiocb own = block(ends[0], got[3], 4, 0);
		CHECK(aio_read(&own) == 0 && aio_error(&own) == EINPROGRESS);
		CHECK(write(ends[1], "mine", 4) == 4);
		CHECK(settle(&own) == 0 && memcmp(got[3], "mine", 4) == 0);
		_exit(0);
	}
	int status;
	CHECK(waitpid(child, &status, 0) == child && status == 0);
	CHECK(aio_error(&cbs[0]) == EINPROGRESS);
	CHECK(write(ends[1], "0123456789ab", 12) == 12);
	for (int at = 0; at < 3; at++)
		CHECK(settle(&cbs[at]) == 0);
	CHECK(memcmp(got[2], "89ab", 4) == 0);
}

/* A block that the child shares is the parent's: it stays in progress. One that the child does not have is none. */
static void forking_with_shared(void)
{
	enum { SIZE = 4096 };
	int ends[2];
	CHECK(pipe(ends) == 0);
	char *shared = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	char *kept = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(shared != MAP_FAILED && kept != MAP_FAILED && madvise(kept, SIZE, MADV_DONTFORK) == 0);
	struct aiocb *cb = (struct aiocb *)shared, *hidden = (struct aiocb *)kept;
	struct aiocb copied = block(ends[0], kept + SIZE / 2, 4, 0);
	*cb = block(ends[0], shared + SIZE / 2, 4, 0);
	*hidden = block(ends[0], kept + SIZE / 4, 4, 0);
	CHECK(aio_read(cb) == 0 && aio_read(hidden) == 0 && aio_read(&copied) == 0);
	pid_t child = fork();
	if (child == 0)
		_exit(aio_error(cb) != EINPROGRESS || aio_error(&copied) != ECANCELED);
	int status;
	CHECK(waitpid(child, &status, 0) == child && status == 0);
	CHECK(aio_error(cb) == EINPROGRESS);
	CHECK(write(ends[1], "0123456789ab", 12) == 12);
	CHECK(settle(cb) == 0 && memcmp(shared + SIZE / 2, "0123", 4) == 0);
	CHECK(settle(hidden) == 0 && settle(&copied) == 0);
}

static struct aiocb in_handler;
static atomic_int handled;
static int handler_answer;

static atomic_int turns, entered;

static void suspend_here(int number)
{
	(void)number;
	entered = 1;
	const struct aiocb *list[] = { &in_handler, NULL };
	handler_answer = aio_suspend(list, 2, NULL);
	handled = 1;
}

static pthread_t main_thread;

/* Waits until a thread sleeps, as its state says. */
static void await_sleep(pid_t tid)
{
	char path[64], text[512];
	snprintf(path, sizeof path, "/proc/self/task/%d/stat", tid);
	for (;;) {
		int fd = open(path, O_RDONLY);
		ssize_t len = read(fd, text, sizeof text - 1);
		close(fd);
		CHECK(len > 0);
		text[len] = 0;
		char *state = strrchr(text, ')');
		if (state && state[2] == 'S')
			return;
		sched_yield();
	}
}

struct kick {
	int end, turn;
	pid_t main;
};

static void *kick_and_write(void *of)
{
	struct kick *kick = of;
	while (turns < kick->turn)
		sched_yield();
	pthread_kill(main_thread, SIGUSR2);
	while (!entered)
		sched_yield();
	await_sleep(kick->main);
	CHECK(write(kick->end, "now", 3) == 3);
	return NULL;
}

/* aio_suspend waits in a signal handler that has interrupted any of the functions. */
static void suspend_in_a_handler(void)
{
	int ends[2];
	CHECK(pipe(ends) == 0);
	main_thread = pthread_self();
	char got[8];
	for (int round = 0; round < 10; round++) {
		in_handler = block(ends[0], got, 3, 0);
		handled = turns = entered = 0;
		CHECK(aio_read(&in_handler) == 0);
		signal(SIGUSR2, suspend_here);
		pthread_t thread;
		struct kick kick = { ends[1], 7 * (round % 10), gettid() };
		CHECK(pthread_create(&thread, NULL, kick_and_write, &kick) == 0);
		/* Whatever is interrupted, with its locks held: */
		int fd = scratch("handler", O_RDWR);
		char bytes[64] = "";
		while (!handled) {
			struct aiocb cb = block(fd, bytes, sizeof bytes, 0);
			CHECK(aio_write(&cb) == 0);
			settle(&cb);
			int other[2];
			CHECK(pipe(other) == 0);
			cb = block(other[0], bytes, 1, 0);
			CHECK(aio_read(&cb) == 0);
			CHECK(aio_cancel(other[0], &cb) == AIO_CANCELED);
			close(other[0]), close(other[1]);
			/* Too large to be had without the allocator's lock. */
			for (int size = 5000; round % 4 == 0 && size < 50000; size += 1000)
				free(malloc(size));
			turns++;
		}
		CHECK(handler_answer == 0 && aio_error(&in_handler) == 0);
		pthread_join(thread, NULL);
		close(fd);
	}
}

static sem_t called;
static int of_callback = -1;
static atomic_int callbacks, blocked;

static void on_thread(union sigval value)
{
	struct stat st;
	/* The program's descriptors are this thread's. */
	CHECK(fstat(value.sival_int, &st) == 0 && S_ISFIFO(st.st_mode));
	of_callback = open("/dev/null", O_RDONLY);
	sigset_t mask;
	pthread_sigmask(SIG_SETMASK, NULL, &mask);
	for (int number = 1; number < 65; number++)
		blocked += sigismember(&mask, number) == 1;
	callbacks++;
	sem_post(&called);
	pthread_exit(NULL);
}

/* A function that is called when a read that waited is over finds the program as it is. */
static void thread_events(void)
{
	sem_init(&called, 0, 0);
	int ends[2];
	CHECK(pipe(ends) == 0);
	for (int round = 0; round < 20; round++) {
		char got[8];
		struct aiocb cb = block(ends[0], got, 1, 0);
		cb.aio_sigevent.sigev_notify = SIGEV_THREAD;
		cb.aio_sigevent.sigev_notify_function = on_thread;
		cb.aio_sigevent.sigev_value.sival_int = ends[1];
		if (round % 2)
			CHECK(write(ends[1], "x", 1) == 1);
		CHECK(aio_read(&cb) == 0);
		if (round == 18) {
			/* So long the library does not hold the file itself; nothing tells when it does. */
			usleep(300000);
			int copy = dup(ends[0]);
			close(ends[0]);
			ends[0] = copy;
		}
		if (round % 2 == 0) {
			usleep(1000 * (unsigned)round);
			CHECK(write(ends[1], "x", 1) == 1);
		}
		sem_wait(&called);
		CHECK(aio_error(&cb) == 0 && callbacks == round + 1 && blocked == 0);
		struct stat st;
		CHECK(of_callback >= 0 && fstat(of_callback, &st) == 0 && S_ISCHR(st.st_mode));
		close(of_callback);
	}
}

static atomic_int got_by;

static void on_which(int number, siginfo_t *info, void *context)
{
	(void)number, (void)context;
	got_by = gettid();
	seen = *info;
	signals++;
}

static void *one_of_two(void *tid)
{
	*(atomic_int *)tid = gettid();
	while (!signals)
		usleep(1000);
	return NULL;
}

/* SIGEV_THREAD_ID: that thread has the signal. */
static void thread_id(void)
{
	struct sigaction action = { .sa_sigaction = on_which, .sa_flags = SA_SIGINFO };
	sigaction(SIGRTMIN + 1, &action, NULL);
	for (int round = 0; round < 20; round++) {
		atomic_int tid = 0;
		signals = 0;
		pthread_t thread;
		CHECK(pthread_create(&thread, NULL, one_of_two, &tid) == 0);
		while (!tid)
			usleep(100);
		int ends[2];
		CHECK(pipe(ends) == 0);
		char got[8];
		struct aiocb cb = block(ends[0], got, 1, 0);
		cb.aio_sigevent.sigev_notify = SIGEV_THREAD_ID;
		cb.aio_sigevent.sigev_signo = SIGRTMIN + 1;
		cb.aio_sigevent._sigev_un._tid = tid;
		cb.aio_sigevent.sigev_value.sival_int = round;
		CHECK(aio_read(&cb) == 0);
		CHECK(write(ends[1], "x", 1) == 1);
		pthread_join(thread, NULL);
		CHECK(got_by == tid && seen.si_code == SI_ASYNCIO && seen.si_value.sival_int == round);
		settle(&cb);
		close(ends[0]), close(ends[1]);
	}
}

/* Until it has been of use: the first may come too early. */
static void *kick(void *over)
{
	while (!*(atomic_int *)over) {
		usleep(5000);
		pthread_kill(main_thread, SIGUSR1);
	}
	return NULL;
}

/* What the C library crashes on. */
static void interrupted_list(void)
{
	int ends[2];
	CHECK(pipe(ends) == 0);
	main_thread = pthread_self();
	expect_signals(SIGUSR1);
	char got[8];
	struct aiocb cb = block(ends[0], got, 5, 0), *list[] = { &cb };
	const struct aiocb *waits[] = { &cb };
	cb.aio_lio_opcode = LIO_READ;
	pthread_t thread;
	atomic_int over = 0;
	CHECK(pthread_create(&thread, NULL, kick, &over) == 0);
	errno = 0;
	CHECK(lio_listio(LIO_WAIT, list, 1, NULL) == -1 && errno == EINTR);
	over = 1;
	pthread_join(thread, NULL);
	CHECK(aio_error(&cb) == EINPROGRESS);
	struct timespec bad = { 0, 2000000000 }, worse = { 1, -1 };
	CHECK(aio_suspend(waits, 1, &bad) == -1 && errno == EINVAL);
	CHECK(aio_suspend(waits, 1, &worse) == -1 && errno == EINVAL);
	CHECK(write(ends[1], "01234", 5) == 5);
	CHECK(settle(&cb) == 0 && aio_return(&cb) == 5);
}

static int descriptors(void)
{
	DIR *dir = opendir("/proc/self/fd");
	int count = 0;
	while (readdir(dir))
		count++;
	closedir(dir);
	return count;
}

/* The library keeps to itself: no descriptor, no signal to its threads, the program's thread is its own. */
static void unseen(void)
{
	int before = descriptors(), tid = gettid();
	int ends[2], fd = open(slow, O_RDONLY);
	CHECK(pipe(ends) == 0 && fd >= 0);
	char got[2][16];
	struct aiocb waits = block(ends[0], got[0], 1, 0), away = block(fd, got[1], 16, 0);
	CHECK(aio_read(&waits) == 0 && aio_read(&away) == 0);
	DIR *tasks = opendir("/proc/self/task");
	struct dirent *task;
	int others = 0;
	while ((task = readdir(tasks))) {
		if (task->d_name[0] == '.' || atoi(task->d_name) == tid)
			continue;
		char path[300], line[256];
		snprintf(path, sizeof path, "/proc/self/task/%s/status", task->d_name);
		FILE *status = fopen(path, "r");
		if (!status)
			continue;
		others++;
		unsigned long mask = 0;
		while (fgets(line, sizeof line, status))
			sscanf(line, "SigBlk: %lx", &mask);
		fclose(status);
		/* All but KILL and STOP, the two of the C library's own, and those of faults. */
		unsigned long faults = 1UL << (SIGSEGV - 1) | 1UL << (SIGBUS - 1) | 1UL << (SIGILL - 1)
			| 1UL << (SIGFPE - 1) | 1UL << (SIGTRAP - 1) | 1UL << (SIGSYS - 1);
		unsigned long open = 1UL << (SIGKILL - 1) | 1UL << (SIGSTOP - 1) | 3UL << 31 | faults;
		if ((mask | open) != ~0UL)
			fprintf(stderr, "thread %s blocks %lx\n", task->d_name, mask);
		CHECK((mask | open) == ~0UL);
	}
	closedir(tasks);
	CHECK(others > 0);
	CHECK(settle(&away) == 0 && write(ends[1], "x", 1) == 1 && settle(&waits) == 0);
	close(ends[0]), close(ends[1]), close(fd);
	CHECK(descriptors() == before && gettid() == tid);
}

/* Everything that is open is closed: what is outstanding ends as it can, and new requests work. */
static void closing(void)
{
	int ends[2], fd = open(slow, O_RDONLY);
	CHECK(pipe(ends) == 0 && fd >= 0);
	int mine = fcntl(ends[1], F_DUPFD, 500);
	char got[3][16];
	struct aiocb waits = block(ends[0], got[0], 2, 0), away = block(fd, got[1], 16, 0);
	CHECK(aio_read(&waits) == 0 && aio_read(&away) == 0);
	for (int at = 3; at < 400; at++)
		close(at);
	CHECK(write(mine, "xy", 2) == 2);
	/* Its thread may have come too late. */
	CHECK(settle(&away) == 0 ? aio_return(&away) == 16 : aio_error(&away) == EBADF);
	int null = open("/dev/null", O_RDONLY);
	struct aiocb again = block(null, got[2], 16, 0);
	CHECK(aio_read(&again) == 0 && settle(&again) == 0 && aio_return(&again) == 0);
}

enum { FILES = 4, BLOCKS = 64, LEN = 2048, THREADS = 8, ROUNDS = 3000 };

static void fill(unsigned char *bytes, unsigned file, unsigned at, unsigned version)
{
	for (unsigned place = 0; place < LEN; place++)
		bytes[place] = (unsigned char)(file * 7 + at * 13 + version * 31 + place);
}

static int files[FILES];

static void *work(void *argument)
{
	unsigned own = (unsigned)(uintptr_t)argument, seed = own * 7919 + 1;
	/* Blocks at, at + THREADS ... of each file are this thread's. */
	static _Thread_local unsigned char bytes[16][LEN], right[LEN];
	unsigned version[FILES][BLOCKS];
	memset(version, 0, sizeof version);
	struct aiocb cbs[16];
	unsigned where[16][2];
	for (unsigned round = 0; round < ROUNDS / 16; round++) {
		int writes = rand_r(&seed) % 2;
		unsigned start = (unsigned)rand_r(&seed);
		struct aiocb *list[16];
		for (unsigned at = 0; at < 16; at++) {
			unsigned place = (start + at) % (FILES * BLOCKS / THREADS);
			unsigned file = where[at][0] = place % FILES;
			unsigned block_of = where[at][1] = place / FILES * THREADS + own;
			if (writes)
				fill(bytes[at], file, block_of, ++version[file][block_of]);
			cbs[at] = block(files[file], bytes[at], LEN, (off_t)block_of * LEN);
			cbs[at].aio_lio_opcode = writes ? LIO_WRITE : LIO_READ;
			list[at] = &cbs[at];
		}
		if (rand_r(&seed) % 4 == 0) {
			CHECK(lio_listio(LIO_WAIT, list, 16, NULL) == 0);
		} else {
			for (unsigned at = 0; at < 16; at++)
				CHECK((writes ? aio_write : aio_read)(&cbs[at]) == 0);
			if (writes && rand_r(&seed) % 8 == 0) {
				struct aiocb sync = block(files[where[3][0]], NULL, 0, 0);
				CHECK(aio_fsync(O_DSYNC, &sync) == 0 && settle(&sync) == 0);
				CHECK(aio_error(&cbs[3]) == 0);
			}
		}
		for (unsigned at = 0; at < 16; at++) {
			CHECK(settle(&cbs[at]) == 0);
			unsigned file = where[at][0], place = where[at][1];
			if (writes) {
				CHECK(aio_return(&cbs[at]) == LEN);
			} else if (version[file][place]) {
				fill(right, file, place, version[file][place]);
				CHECK(aio_return(&cbs[at]) == LEN && memcmp(right, bytes[at], LEN) == 0);
			}
		}
	}
	return NULL;
}

/* Many threads, many requests, every byte looked at. */
static void threads(void)
{
	pthread_t ids[THREADS];
	for (int at = 0; at < FILES; at++) {
		char name[16];
		snprintf(name, sizeof name, "shared%d", at);
		files[at] = scratch(name, O_RDWR | O_TRUNC);
		CHECK(ftruncate(files[at], BLOCKS * LEN) == 0);
	}
	for (uintptr_t at = 0; at < THREADS; at++)
		CHECK(pthread_create(&ids[at], NULL, work, (void *)at) == 0);
	for (int at = 0; at < THREADS; at++)
		pthread_join(ids[at], NULL);
}

/* Both directions of a socket at a time: a read that waits holds up no write, and all is in order. */
static void both_ways(void)
{
	int ends[2];
	CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
	enum { COUNT = 500 };
	static struct aiocb reads[COUNT], writes[COUNT];
	static uint32_t sent[COUNT], got[COUNT];
	for (uint32_t at = 0; at < COUNT; at++) {
		sent[at] = at * 2654435761U;
		reads[at] = block(ends[0], &got[at], 4, 0);
		CHECK(aio_read(&reads[at]) == 0);
		struct aiocb back = block(ends[0], &sent[at], 4, 0);
		CHECK(aio_write(&back) == 0 && settle(&back) == 0);
		uint32_t there;
		CHECK(read(ends[1], &there, 4) == 4 && there == sent[at]);
	}
	CHECK(aio_error(&reads[0]) == EINPROGRESS);
	for (uint32_t at = 0; at < COUNT; at++) {
		writes[at] = block(ends[1], &sent[at], 4, 0);
		CHECK(aio_write(&writes[at]) == 0);
	}
	for (uint32_t at = 0; at < COUNT; at++)
		CHECK(settle(&writes[at]) == 0 && settle(&reads[at]) == 0 && aio_return(&reads[at]) == 4);
	CHECK(memcmp(sent, got, sizeof sent) == 0);
}

/* A pipe of packets has O_DIRECT, as files that are read elsewhere: what waits there is parked, and cancelled, too. */
static void cancel_packet(void)
{
	int ends[2];
	char got[4];
	CHECK(pipe2(ends, O_DIRECT) == 0);
	ends[0] = fcntl(ends[0], F_DUPFD, 700); /* a number of which nothing is known */
	CHECK(ends[0] >= 700);
	struct aiocb cb = block(ends[0], got, 4, 0);
	CHECK(aio_read(&cb) == 0);
	CHECK(aio_cancel(ends[0], &cb) == AIO_CANCELED && aio_error(&cb) == ECANCELED);
	CHECK(write(ends[1], "abcd", 4) == 4);
	CHECK(aio_read(&cb) == 0 && settle(&cb) == 0 && aio_return(&cb) == 4);
}

/* From here on no thread can be made. */
static void make_no_threads(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone, 1, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone3, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EAGAIN),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog filter = { sizeof code / sizeof *code, code };
	CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
	CHECK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0);
}

static volatile int told_alone;

static void tell_alone(union sigval value)
{
	told_alone += value.sival_int;
}

/* Where no thread can be made, requests are made and told of nevertheless. */
static void alone(void)
{
	char path[4200], got[4] = "";
	int ends[2];
	snprintf(path, sizeof path, "%s/alone", folder);
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_APPEND, 0600);
	CHECK(fd >= 0 && pipe(ends) == 0);
	make_no_threads();
	struct aiocb cb = block(fd, "abcd", 4, 0), sync = block(fd, NULL, 0, 0), out = block(ends[1], "efgh", 4, 0);
	cb.aio_sigevent.sigev_notify = SIGEV_THREAD;
	cb.aio_sigevent.sigev_notify_function = tell_alone;
	cb.aio_sigevent.sigev_value.sival_int = 5;
	CHECK(aio_write(&cb) == 0 && settle(&cb) == 0 && aio_return(&cb) == 4);
	CHECK(told_alone == 5);
	CHECK(aio_fsync(O_SYNC, &sync) == 0 && settle(&sync) == 0);
	CHECK(aio_write(&out) == 0 && settle(&out) == 0);
	struct aiocb in = block(ends[0], got, 4, 0);
	CHECK(aio_read(&in) == 0 && settle(&in) == 0 && memcmp(got, "efgh", 4) == 0);
}

static atomic_int *told;

static void tell(union sigval value)
{
	*told = value.sival_int;
}

/* The state of the main thread of a process; Z if it has ended and the process has not. */
static char state_of(pid_t process)
{
	char path[64], line[512] = "";
	snprintf(path, sizeof path, "/proc/%d/stat", (int)process);
	FILE *stat = fopen(path, "r");
	CHECK(stat && fgets(line, sizeof line, stat));
	fclose(stat);
	return strrchr(line, ')')[2];
}

static void *stay(void *unused)
{
	while (state_of(getpid()) != 'Z')
		sched_yield();
	usleep(600000); /* what is promised is that nothing happens meanwhile */
	*told = 6;
	return unused;
}

/* The main thread ends by pthread_exit: the program goes on as long as a thread or a request does, and not longer. */
static void main_ends(void)
{
	told = mmap(NULL, sizeof *told, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(told != MAP_FAILED);
	int ends[2], status;
	CHECK(pipe(ends) == 0);
	for (int round = 0; round < 3; round++) {
		*told = 0;
		pid_t child = fork();
		if (child == 0) {
			static char got[8];
			static struct aiocb cb;
			cb = block(ends[0], got, 1, 0);
			cb.aio_sigevent.sigev_notify = SIGEV_THREAD;
			cb.aio_sigevent.sigev_notify_function = tell;
			cb.aio_sigevent.sigev_value.sival_int = 5;
			CHECK(aio_read(&cb) == 0);
			if (round == 0)
				CHECK(aio_cancel(ends[0], &cb) == AIO_CANCELED);
			pthread_t thread;
			if (round == 1) {
				CHECK(aio_cancel(ends[0], &cb) == AIO_CANCELED);
				CHECK(pthread_create(&thread, NULL, stay, NULL) == 0);
			}
			pthread_exit(NULL);
		}
		if (round == 2) {
			while (state_of(child) != 'Z')
				sched_yield();
			usleep(600000);
			CHECK(waitpid(child, &status, WNOHANG) == 0);
			CHECK(write(ends[1], "x", 1) == 1);
		}
		CHECK(waitpid(child, &status, 0) == child && status == 0);
		/* A request that was cancelled may be told of too. */
		CHECK(round == 0 || *told == 7 - round);
	}
	pthread_exit(NULL); /* this program too */
}

/* A write of a file whose server says nothing of its file system. */
static void write_served(void)
{
	static char page[4096];
	int fd = open(slow, O_WRONLY);
	CHECK(fd >= 0);
	struct aiocb cb = block(fd, page, sizeof page, 0);
	const struct aiocb *list[] = { &cb };
	CHECK(aio_write(&cb) == 0);
	while (aio_error(&cb) == EINPROGRESS)
		aio_suspend(list, 1, NULL);
	CHECK(aio_error(&cb) == 0 && aio_return(&cb) == sizeof page);
}

static const struct {
	const char *name;
	void (*run)(void);
} promises[] = {
	{ "cancel_one", cancel_one }, { "cancel_all", cancel_all }, { "together", together },
	{ "joined_syncs", joined_syncs }, { "size_limit", size_limit },
	{ "sync_order", sync_order }, { "alone", alone }, { "cancel_packet", cancel_packet }, { "forking", forking },
	{ "forking_with_shared", forking_with_shared }, { "suspend_in_a_handler", suspend_in_a_handler },
	{ "thread_events", thread_events }, { "thread_id", thread_id }, { "interrupted_list", interrupted_list },
	{ "unseen", unseen }, { "closing", closing }, { "threads", threads }, { "both_ways", both_ways },
	{ "main_ends", main_ends }, { "write_served", write_served },
};

int main(int argc, char **argv)
{
	CHECK(argc >= 3);
	folder = argv[2];
	slow = argc > 3 ? argv[3] : "";
	for (size_t at = 0; at < sizeof promises / sizeof *promises; at++)
		if (strcmp(promises[at].name, argv[1]) == 0) {
			promises[at].run();
			return 0;
		}
	fprintf(stderr, "no promise: %s\n", argv[1]);
	return 2;
}
