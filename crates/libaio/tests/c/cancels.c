/* What becomes of requests that are cancelled, or whose context is destroyed. The first argument says what, the
 * second is a folder, the third a file whose reads take long. Says nothing and ends with 0 if all is well. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include "check.h"

static int pipes[2];
static char *memory;
static io_context_t context;

static void submit(struct iocb *iocb) { CHECK(io_submit(context, 1, &iocb) == 1); }

/* The next event is of this block. */
static void expect(struct iocb *iocb, long res) {
  struct io_event event;
  struct timespec patience = {20, 0};
  CHECK(io_getevents(context, 1, 1, &event, &patience) == 1);
  CHECK(event.obj == iocb && (long)event.res == res && event.res2 == 0);
}

static void expect_nothing(void) {
  struct io_event event;
  CHECK(io_getevents(context, 0, 1, &event, &(struct timespec){0, 0}) == 0);
}

static void cancel(struct iocb *iocb) {
  struct io_event event;
  CHECK(io_cancel(context, iocb, &event) == -EINPROGRESS);
}

static void cancel_nothing(struct iocb *iocb) {
  struct io_event event;
  CHECK(io_cancel(context, iocb, &event) == -EINVAL);
}

/* A read that waits for a pipe ends, and takes no byte. */
static void pipe_read(void) {
  struct iocb read_it;
  char got[4] = "";
  io_prep_pread(&read_it, pipes[0], memory, 4, 0);
  submit(&read_it);
  expect_nothing();
  cancel(&read_it);
  expect(&read_it, -ECANCELED);
  cancel_nothing(&read_it);
  memset(memory, '-', 4);
  CHECK(write(pipes[1], "abcd", 4) == 4);
  CHECK(read(pipes[0], got, 4) == 4 && memcmp(got, "abcd", 4) == 0 && memory[0] == '-');
  expect_nothing();
}

/* A write that waits for room in a pipe ends, and leaves no byte there. */
static void pipe_write(void) {
  struct iocb write_it;
  size_t filled = 0, found = 0;
  ssize_t length;
  memset(memory, 'f', PAGE);
  CHECK(fcntl(pipes[1], F_SETFL, O_NONBLOCK) == 0);
  while ((length = write(pipes[1], memory, PAGE)) > 0) filled += length;
  CHECK(errno == EAGAIN && fcntl(pipes[1], F_SETFL, 0) == 0);
  memset(memory, 'w', PAGE);
  io_prep_pwrite(&write_it, pipes[1], memory, PAGE, 0);
  submit(&write_it);
  expect_nothing();
  cancel(&write_it);
  expect(&write_it, -ECANCELED);
  cancel_nothing(&write_it);
  CHECK(fcntl(pipes[0], F_SETFL, O_NONBLOCK) == 0);
  while ((length = read(pipes[0], memory, PAGE)) > 0) {
    CHECK(memchr(memory, 'w', length) == NULL);
    found += length;
  }
  CHECK(found == filled);
}

/* A context whose read waits for a pipe is destroyed at once, and the memory is the program's. */
static void destroyed(void) {
  struct iocb read_it;
  char got[4] = "";
  io_prep_pread(&read_it, pipes[0], memory, 4, 0);
  submit(&read_it);
  alarm(20);
  CHECK(io_destroy(context) == 0);
  memset(memory, '-', 4);
  CHECK(write(pipes[1], "abcd", 4) == 4);
  CHECK(read(pipes[0], got, 4) == 4 && memcmp(got, "abcd", 4) == 0 && memory[0] == '-');
  CHECK((context = 0, set_up(8, &context)) == 0);
}

/* Writes that are under way, or wait for a thread, are made although their context is destroyed: the kernel would have
 * made them in io_submit. */
static void written(const char *name) {
  enum { LENGTH = 300 << 10, WRITES = 12 };
  struct iocb writes[WRITES];
  int slow = open(name, O_RDONLY), file = open("written", O_RDWR | O_CREAT | O_TRUNC, 0600);
  char *from = mmap(NULL, LENGTH, PROT_READ, MAP_PRIVATE, slow, 0); /* reading there takes long */
  CHECK(slow >= 0 && file >= 0 && from != MAP_FAILED);
  for (int at = 0; at < WRITES; at++) {
    io_prep_pwrite(&writes[at], file, from, LENGTH, at * LENGTH);
    submit(&writes[at]);
  }
  CHECK(io_destroy(context) == 0);
  char *there = mmap(NULL, LENGTH * WRITES, PROT_READ, MAP_PRIVATE, file, 0);
  CHECK(there != MAP_FAILED && lseek(file, 0, SEEK_END) == LENGTH * WRITES);
  for (int at = 0; at < WRITES; at++) CHECK(memcmp(there + at * LENGTH, from, LENGTH) == 0);
  CHECK((context = 0, set_up(8, &context)) == 0);
}

/* More reads than there are threads: one that has none ends at once, and its memory is left alone. */
static void unbegun(const char *name) {
  enum { READS = 16 };
  struct iocb reads[READS];
  struct io_event event;
  int slow = open(name, O_RDONLY);
  CHECK(slow >= 0);
  memset(memory, '-', READS * PAGE);
  for (int at = 0; at < READS; at++) {
    io_prep_pread(&reads[at], slow, memory + at * PAGE, PAGE, at * PAGE);
    submit(&reads[at]);
  }
  struct iocb *last = &reads[READS - 1];
  cancel(last);
  cancel_nothing(last);
  /* Its event does not wait for those that have threads, some of which may be over. */
  int place = -1;
  for (int left = READS; left > 0; left--) {
    CHECK(io_getevents(context, 1, 1, &event, NULL) == 1);
    CHECK(event.obj == last ? (long)event.res == -ECANCELED && place < 0 : event.res == PAGE);
    if (event.obj == last) place = READS - left;
  }
  CHECK(place >= 0 && place < READS / 2);
  expect_nothing();
  for (int at = 0; at < PAGE; at++) CHECK(memory[(READS - 1) * PAGE + at] == '-');
}

/* One that is under way is told; its event comes, and says what has happened. */
static void begun(const char *name) {
  struct iocb slow_read;
  struct io_event event;
  int slow = open(name, O_RDONLY);
  CHECK(slow >= 0);
  io_prep_pread(&slow_read, slow, memory, PAGE, 0);
  submit(&slow_read);
  expect_nothing();
  cancel(&slow_read);
  cancel_nothing(&slow_read); /* it was told */
  CHECK(io_getevents(context, 1, 1, &event, NULL) == 1 && event.obj == &slow_read);
  CHECK((long)event.res == PAGE || (long)event.res == -ECANCELED);
  cancel_nothing(&slow_read);
  expect_nothing();
}

int main(int count, char **args) {
  CHECK(count == 4 && chdir(args[2]) == 0);
  memory = aligned_alloc(PAGE, 16 * PAGE);
  CHECK(memory && pipe2(pipes, 0) == 0 && set_up(64, &context) == 0);
  if (!strcmp(args[1], "pipe_read")) pipe_read();
  if (!strcmp(args[1], "pipe_write")) pipe_write();
  if (!strcmp(args[1], "destroyed")) destroyed();
  if (!strcmp(args[1], "written")) written(args[3]);
  if (!strcmp(args[1], "unbegun")) unbegun(args[3]);
  if (!strcmp(args[1], "begun")) begun(args[3]);
  CHECK(io_destroy(context) == 0);
  return 0;
}
