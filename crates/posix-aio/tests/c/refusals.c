/* What is not done: requests that cannot be cancelled, and those that are one too many.
   refusals NAME SLOW: SLOW is a file each read of which takes half a second; when a line comes from the program, the
   answer is one when another read has been asked for. Ends with 0, or says what is wrong. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <unistd.h>
#include "check.h"

static const char *slow;

/* Returns when the file system has been asked for the read: until then it could be cancelled. */
static void await_read(void)
{
	char line;
	CHECK(write(1, "\n", 1) == 1 && read(0, &line, 1) == 1);
}

/* A read that nobody can interrupt is not cancelled: it goes on, and its answer is its own. */
static void not_cancelled(void)
{
	static char got[4096];
	int fd = open(slow, O_RDONLY);
	CHECK(fd >= 0);
	struct aiocb cb = block(fd, got, sizeof got, 0);
	CHECK(aio_read(&cb) == 0);
	await_read();
	CHECK(aio_cancel(fd, &cb) == AIO_NOTCANCELED && aio_error(&cb) == EINPROGRESS);
	CHECK(aio_cancel(fd, NULL) == AIO_NOTCANCELED && aio_error(&cb) == EINPROGRESS);
	CHECK(settle(&cb) == 0 && aio_return(&cb) == sizeof got);
	CHECK(aio_cancel(fd, &cb) == AIO_ALLDONE && aio_cancel(fd, NULL) == AIO_ALLDONE);
}

/* Of a descriptor's requests some are cancelled and one is not: the worst of the answers is the answer. */
static void mixed(void)
{
	static char got[4096];
	int fd = open(slow, O_RDONLY), ends[2];
	CHECK(fd >= 0 && pipe(ends) == 0);
	struct aiocb cb = block(fd, got, sizeof got, 0), syncs[3];
	CHECK(aio_read(&cb) == 0);
	await_read();
	for (int at = 0; at < 3; at++) {
		syncs[at] = block(fd, NULL, 0, 0);
		CHECK(aio_fsync(at == 1 ? O_DSYNC : O_SYNC, &syncs[at]) == 0 && aio_error(&syncs[at]) == EINPROGRESS);
	}
	CHECK(aio_cancel(fd, NULL) == AIO_NOTCANCELED);
	for (int at = 0; at < 3; at++)
		CHECK(aio_error(&syncs[at]) == ECANCELED && aio_return(&syncs[at]) == -1);
	CHECK(aio_error(&cb) == EINPROGRESS);
	CHECK(settle(&cb) == 0 && aio_return(&cb) == sizeof got);
	/* One that is over does not count beside one that is cancelled. */
	char bytes[2];
	struct aiocb over = block(ends[0], &bytes[0], 1, 0), waits = block(ends[0], &bytes[1], 1, 0);
	CHECK(write(ends[1], "x", 1) == 1);
	CHECK(aio_read(&over) == 0 && settle(&over) == 0 && aio_read(&waits) == 0);
	CHECK(aio_cancel(ends[0], NULL) == AIO_CANCELED && aio_error(&waits) == ECANCELED);
	CHECK(aio_error(&over) == 0 && aio_return(&over) == 1);
}

/* However many cannot be cancelled, who asks waits for them together. */
static void together(void)
{
	enum { MOST = 8 };
	static char got[MOST][4096];
	struct aiocb cbs[MOST];
	int fd = open(slow, O_RDONLY);
	CHECK(fd >= 0);
	for (int at = 0; at < MOST; at++) {
		cbs[at] = block(fd, got[at], sizeof got[at], at * sizeof got[at]);
		CHECK(aio_read(&cbs[at]) == 0);
		await_read();
	}
	double best = 1;
	for (int at = 0; at < 3; at++) {
		double begun = now();
		CHECK(aio_cancel(fd, NULL) == AIO_NOTCANCELED);
		double took = now() - begun;
		best = took < best ? took : best;
	}
	CHECK(best < 0.050);
	for (int at = 0; at < MOST; at++)
		CHECK(settle(&cbs[at]) == 0 && aio_return(&cbs[at]) == sizeof got[at]);
}

/* What a write has written before its rest is cancelled is its answer. (SYSLET_MAX_CREW: 2.) */
static void short_write(void)
{
	enum { CREW = 2 };
	static char got[CREW][4096];
	struct aiocb cbs[CREW];
	char path[] = "/dev/shm/syslet-short-XXXXXX";
	int fd = open(slow, O_RDONLY), file = mkstemp(path);
	CHECK(fd >= 0 && file >= 0 && unlink(path) == 0);
	/* One of two pages can be written; nobody is left to try the other. */
	char *pages = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(pages != MAP_FAILED && mprotect(pages + 4096, 4096, PROT_NONE) == 0);
	for (int at = 0; at < CREW; at++) {
		cbs[at] = block(fd, got[at], sizeof got[at], at * sizeof got[at]);
		CHECK(aio_read(&cbs[at]) == 0);
		await_read();
	}
	struct aiocb cb = block(file, pages, 8192, 0);
	CHECK(aio_write(&cb) == 0 && aio_error(&cb) == EINPROGRESS);
	CHECK(aio_cancel(file, &cb) == AIO_ALLDONE);
	CHECK(aio_error(&cb) == 0 && aio_return(&cb) == 4096 && lseek(file, 0, SEEK_END) == 4096);
	for (int at = 0; at < CREW; at++)
		CHECK(settle(&cbs[at]) == 0);
}

static int reads[2];
static atomic_int resubmits, stops;

/* Reads from a pipe, and as soon as that is over gives the block back, or reads by it once more. */
static void *owner(void *unused)
{
	static char got;
	struct aiocb *cb = NULL;
	while (!stops) {
		if (!cb)
			cb = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		CHECK(cb != MAP_FAILED);
		*cb = block(reads[0], &got, 1, 0);
		CHECK(aio_read(cb) == 0);
		while (aio_error(cb) == EINPROGRESS)
			;
		CHECK(aio_error(cb) == ECANCELED && aio_return(cb) == -1);
		if (!resubmits) {
			CHECK(munmap(cb, 4096) == 0);
			cb = NULL;
		}
	}
	return unused;
}

/* Who cancels all of a descriptor looks at no block of another thread's that is over. */
static void given_back(void)
{
	pthread_t thread;
	CHECK(pipe(reads) == 0 && pthread_create(&thread, NULL, owner, NULL) == 0);
	double begun = now();
	int counts[3] = { 0 };
	while (now() - begun < 2) {
		resubmits = now() - begun > 1;
		int answer = aio_cancel(reads[0], NULL);
		CHECK(answer >= 0);
		counts[answer]++;
	}
	/* The thread that was to begin the next one may have been held up for longer than it is waited for. */
	CHECK(counts[AIO_NOTCANCELED] * 20 < counts[AIO_CANCELED]);
	stops = 1;
	while (pthread_tryjoin_np(thread, NULL) == EBUSY)
		CHECK(aio_cancel(reads[0], NULL) >= 0);
}

static void is_refused(int answer, struct aiocb *cb)
{
	CHECK(answer == -1 && errno == EAGAIN);
	CHECK(!cb || (aio_error(cb) == EAGAIN && aio_return(cb) == -1));
}

/* More requests than there may be (SYSLET_TEST_AIO_MOST: 8) are refused; afterwards they are taken. */
static void too_many(void)
{
	enum { MOST = 8 };
	int ends[2], file = open(slow, O_RDONLY);
	static char got[MOST + 1];
	struct aiocb cbs[MOST], more, sync, inline_one;
	CHECK(file >= 0 && pipe(ends) == 0);
	for (int at = 0; at < MOST; at++) {
		cbs[at] = block(ends[0], &got[at], 1, 0);
		CHECK(aio_read(&cbs[at]) == 0 && aio_error(&cbs[at]) == EINPROGRESS);
	}
	more = block(ends[0], &got[MOST], 1, 0);
	errno = 0, is_refused(aio_read(&more), &more);
	inline_one = block(ends[1], "x", 1, 0);
	errno = 0, is_refused(aio_write(&inline_one), &inline_one);
	sync = block(file, NULL, 0, 0);
	errno = 0, is_refused(aio_fsync(O_SYNC, &sync), NULL);
	struct aiocb *list[] = { &more };
	more.aio_lio_opcode = LIO_READ;
	errno = 0, is_refused(lio_listio(LIO_NOWAIT, list, 1, NULL), &more);
	/* Waited for, some that were begun: EIO, as the manual page has it; none, so what became of it. */
	errno = 0, is_refused(lio_listio(LIO_WAIT, list, 1, NULL), &more);
	for (int at = 0; at < MOST; at++)
		CHECK(aio_error(&cbs[at]) == EINPROGRESS);
	CHECK(write(ends[1], "a", 1) == 1 && settle(&cbs[0]) == 0 && got[0] == 'a');
	/* Its place is free a moment after its answer is there. */
	while (aio_read(&more) == -1) {
		CHECK(errno == EAGAIN);
		sched_yield();
	}
	CHECK(aio_error(&more) == EINPROGRESS);
	/* The next one has just begun, or is about to. */
	CHECK(aio_cancel(ends[0], NULL) == AIO_CANCELED);
	for (int at = 1; at < MOST; at++)
		CHECK(aio_error(&cbs[at]) == ECANCELED);
	CHECK(aio_error(&more) == ECANCELED);
	CHECK(aio_fsync(O_SYNC, &sync) == 0);
	settle(&sync);
}

static const struct {
	const char *name;
	void (*run)(void);
} refusals[] = {
	{ "not_cancelled", not_cancelled }, { "mixed", mixed }, { "too_many", too_many },
	{ "together", together }, { "given_back", given_back },
	{ "short_write", short_write },
};

int main(int argc, char **argv)
{
	CHECK(argc == 3);
	slow = argv[2];
	for (size_t at = 0; at < sizeof refusals / sizeof *refusals; at++)
		if (strcmp(refusals[at].name, argv[1]) == 0) {
			refusals[at].run();
			return 0;
		}
	fprintf(stderr, "no refusal: %s\n", argv[1]);
	return 2;
}
