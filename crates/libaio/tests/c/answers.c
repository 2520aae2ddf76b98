/* What the library answers to what it is given, good and bad, one line each. Run with the system's library and with
 * ours; the lines are compared. The first argument is a folder for files, of a file system with O_DIRECT, the
 * second says what is asked for. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <libaio.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>
#include "check.h"

#define SIZE 65536

static int file, direct, only_read, only_write, pipes[2], event;
static char *buffer, *none;
static io_context_t context;

static void say(const char *what, long answer) { printf("%s: %ld\n", what, answer); }

int io_queue_wait(io_context_t, struct timespec *); /* not in the header */

/* Submits one request and says what came of it. */
static void one(const char *what, struct iocb *iocb) {
  struct timespec patience = {20, 0};
  struct io_event got = {0};
  struct iocb *list[] = {iocb};
  errno = 77;
  int answer = io_submit(context, 1, list);
  printf("%s: submit %d errno %d", what, answer, errno);
  if (answer == 1) {
    int events = io_getevents(context, 1, 1, &got, &patience);
    printf(" events %d", events);
    if (events == 1)
      printf(" res %ld res2 %ld data %ld obj %d", (long)got.res, (long)got.res2, (long)got.data,
             got.obj == iocb);
  }
  printf("\n");
}

static struct iocb made(int opcode, int fd, void *buf, size_t len, long long at) {
  struct iocb iocb;
  memset(&iocb, 0, sizeof iocb);
  iocb.aio_lio_opcode = opcode;
  iocb.aio_fildes = fd;
  iocb.u.c.buf = buf;
  iocb.u.c.nbytes = len;
  iocb.u.c.offset = at;
  iocb.data = (void *)42;
  return iocb;
}

static void transfer(const char *what, int opcode, int fd, void *buf, size_t len, long long at) {
  struct iocb iocb = made(opcode, fd, buf, len, at);
  one(what, &iocb);
}

static void flagged(const char *what, int opcode, int fd, size_t len, int rw_flags) {
  struct iocb iocb = made(opcode, fd, buffer, len, 0);
  iocb.aio_rw_flags = rw_flags;
  one(what, &iocb);
}

static void setups(void) {
  static const int sizes[] = {1, 62, 63, 65, 128, 256, 1000, 1024, 4096, 0, -1, 0x10000000, INT_MAX, 65537};
  char name[64];
  for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++) {
    io_context_t made = 0;
    /* More than there may be at all is not waited for. */
    int answer = sizes[i] > 65536 ? io_setup(sizes[i], &made) : set_up(sizes[i], &made);
    struct ring *ring = (struct ring *)made;
    snprintf(name, sizeof name, "io_setup(%d)", sizes[i]);
    say(name, answer);
    if (answer == 0) {
      printf("  nr %u head %u tail %u magic %x compat %u incompat %u length %u\n", ring->nr,
             ring->head, ring->tail, ring->magic, ring->compat, ring->incompat, ring->length);
      say("  io_destroy", io_destroy(made));
      say("  again", io_destroy(made));
    }
  }
  io_context_t used = (io_context_t)1;
  say("io_setup of what is not 0", io_setup(1, &used));
  say("io_setup nowhere", io_setup(1, NULL));
  say("io_setup where nothing is", io_setup(0, (io_context_t *)none));
  io_context_t queue = (io_context_t)1;
  say("io_queue_init", io_queue_init(4, &queue));
  say("io_queue_run of nothing", io_queue_run(queue));
  struct timespec now = {0, 0};
  say("io_queue_wait", io_queue_wait(queue, &now));
  say("io_queue_release", io_queue_release(queue));
  say("io_queue_init(0)", io_queue_init(0, &queue));
}

static void contexts(void) {
  struct iocb iocb = made(IO_CMD_PREAD, file, buffer, PAGE, 0), *list[] = {&iocb};
  struct io_event event;
  io_context_t bad[] = {(io_context_t)8, (io_context_t)none, (io_context_t)buffer};
  for (int i = 0; i < 3; i++) {
    say("io_submit to no context", io_submit(bad[i], 1, list));
    say("io_submit of nothing to no context", io_submit(bad[i], 0, list));
    say("io_destroy of no context", io_destroy(bad[i]));
    say("io_cancel in no context", io_cancel(bad[i], &iocb, &event));
  }
  say("io_getevents of no context", io_getevents((io_context_t)buffer, 0, 1, &event, NULL));
  /* Also to a thread that has just destroyed one. */
  io_context_t made = 0;
  say("one that is destroyed", set_up(4, &made));
  say("  io_destroy", io_destroy(made));
  say("io_submit of nothing to null", io_submit(NULL, 0, list));
  say("  io_submit of nothing", io_submit(made, 0, list));
  say("io_submit to null", io_submit(NULL, 1, list));
  say("io_cancel in null", io_cancel(NULL, &iocb, &event));
  say("io_getevents of null", io_getevents(NULL, 0, 1, &event, NULL));
  say("io_destroy of null", io_destroy(NULL));
}

#include "requests.h"
#include "odd.h"

static void waiting(void) {
  struct timespec now = {0, 0}, soon = {0, 50000000};
  struct io_event events[4];
  say("nothing there, no time", io_getevents(context, 1, 1, events, &now));
  say("nothing there, no time, bad numbers", io_getevents(context, 5, 1, NULL, &now));
  say("nothing there, some time", io_getevents(context, 1, 1, events, &soon));
  say("nothing wanted", io_getevents(context, 0, 4, events, NULL));
  say("nothing wanted, some time", io_getevents(context, 0, 0, NULL, &soon) );
  say("least above most", io_getevents(context, 2, 1, events, &soon));
  say("least below 0", io_getevents(context, -1, 1, events, &soon));
  /* The system's library itself looks at the time. */
  say("a time nowhere", syscall(SYS_io_getevents, context, 1, 1, events, none));
  struct iocb iocb = made(IO_CMD_PREAD, file, buffer, PAGE, 0), *list[] = {&iocb};
  io_submit(context, 1, list);
  say("events to nowhere", io_getevents(context, 1, 1, (struct io_event *)none, NULL));
  say("and then", io_getevents(context, 1, 4, events, NULL));
  io_submit(context, 1, list);
  say("a file's event, without a least", io_getevents(context, 0, 4, events, &(struct timespec){20, 0}));
  struct iocb wait = made(IO_CMD_POLL, pipes[0], (void *)POLLIN, 0, 0);
  while (read(pipes[0], buffer, 1) > 0) {}
  list[0] = &wait;
  say("a poll", io_submit(context, 1, list));
  say("is not there", io_getevents(context, 1, 1, events, &soon));
  say("is cancelled", io_cancel(context, &wait, events));
  say("comes", io_getevents(context, 1, 1, events, NULL));
  say("with", events[0].res);
  say("is gone", io_cancel(context, &wait, events));
  wait.key = 77; /* the kernel has a value of its own for it */
  say("a poll with a key", io_submit(context, 1, list));
  say("has none then", wait.key);
  say("is cancelled", io_cancel(context, &wait, events));
  say("comes", io_getevents(context, 1, 1, events, NULL));
  say("a request that is over", io_cancel(context, &iocb, events));
  say("a request that never was", io_cancel(context, &wait, events));
  say("a request nowhere", io_cancel(context, (struct iocb *)none, events));
}

static volatile int came;
static void handler(int signal) { came = signal; }

/* Times that are none, or that never end: those are interrupted by a signal, again and again, should one come before
 * the wait. */
static void times(void) {
  static const struct timespec odd[] = {
      {-1, 0}, {0, -1}, {-1, 999999999}, {-1, 1000000000}, {-1, 1000000001}, {-1, 2000000000}, {1, -1000000000},
      {1, -999999999}, {0, 1000000}, {-3, 3001000000}, {0, LONG_MAX}, {0, LONG_MIN},
      {-1, LONG_MAX}, {LONG_MAX, 0}, {LONG_MAX, 999999999}, {LONG_MAX, LONG_MAX}, {LONG_MIN, 0}, {LONG_MIN, -1},
      {LONG_MAX / 2, 0}, {9223372035, 1000000000}, {9223372036, 0}, {9223372037, -1}};
  struct io_event events[1];
  struct itimerval often = {{0, 100000}, {0, 100000}}, never = {{0, 0}, {0, 0}};
  sigset_t all;
  char name[80];
  signal(SIGALRM, handler);
  sigfillset(&all);
  for (unsigned i = 0; i < sizeof odd / sizeof *odd; i++) {
    snprintf(name, sizeof name, "a time of {%ld, %ld}", odd[i].tv_sec, odd[i].tv_nsec);
    setitimer(ITIMER_REAL, &often, NULL);
    int answer = io_getevents(context, 1, 1, events, (struct timespec *)&odd[i]);
    setitimer(ITIMER_REAL, &never, NULL);
    say(name, answer);
  }
  /* A time that is over has come to its end, and no signal. */
  struct timespec short_one = {-3, 3001000000};
  say("a short time, with a mask", io_pgetevents(context, 1, 1, events, &short_one, &all));
}

static pid_t waiting_thread;

/* Signals the process once that thread waits. Not this one. */
static void *signaller(void *unused) {
  sigset_t all;
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, NULL);
  await_wait(waiting_thread);
  kill(getpid(), SIGUSR1);
  return unused;
}

static void signals(void) {
  struct io_event events[1];
  struct timespec patience = {20, 0};
  sigset_t blocked, open, old;
  signal(SIGUSR1, handler);
  sigemptyset(&open);
  sigemptyset(&blocked);
  sigaddset(&blocked, SIGUSR1);
  sigprocmask(SIG_BLOCK, &blocked, &old);
  raise(SIGUSR1);
  say("the signal waits", came);
  say("io_pgetevents lets it in", io_pgetevents(context, 1, 1, events, &patience, &open));
  say("the handler has run", came);
  came = 0;
  raise(SIGUSR1);
  say("io_pgetevents with it blocked", io_pgetevents(context, 1, 1, events, &(struct timespec){0, 50000000}, &blocked));
  say("the handler has not run", came);
  sigprocmask(SIG_SETMASK, &old, NULL);
  say("now it has", came);
  /* One that comes meanwhile and that only the mask blocks stays until the call returns. */
  pthread_t thread;
  came = 0;
  waiting_thread = gettid();
  pthread_create(&thread, NULL, signaller, NULL);
  say("io_pgetevents blocks it", io_pgetevents(context, 1, 1, events, &(struct timespec){0, 300000000}, &blocked));
  say("the handler has run after", came);
  pthread_join(thread, NULL);
  /* One that is ignored ends nothing. */
  signal(SIGUSR2, SIG_IGN);
  sigaddset(&blocked, SIGUSR2);
  sigprocmask(SIG_BLOCK, &blocked, &old);
  raise(SIGUSR2);
  say("io_pgetevents with one that is ignored",
      io_pgetevents(context, 1, 1, events, &(struct timespec){0, 50000000}, &open));
  sigprocmask(SIG_SETMASK, &old, NULL);
}

static void call_back(io_context_t of, struct iocb *iocb, long res, long res2) {
  printf("called back: context %d fd %d res %ld res2 %ld\n", of == context, iocb->aio_fildes == file, res, res2);
}

/* The functions of the first version of the interface, by that version. */
static void old_versions(void) {
  int (*old_cancel)(io_context_t, struct iocb *) = dlvsym(RTLD_DEFAULT, "io_cancel", "LIBAIO_0.1");
  int (*old_getevents)(io_context_t, long, struct io_event *, const struct timespec *) =
      dlvsym(RTLD_DEFAULT, "io_getevents", "LIBAIO_0.1");
  int (*old_wait)(io_context_t, struct timespec *) = dlvsym(RTLD_DEFAULT, "io_queue_wait", "LIBAIO_0.1");
  struct iocb poll = made(IO_CMD_POLL, pipes[0], (void *)POLLIN, 0, 0), *list[] = {&poll};
  struct io_event events[4];
  struct timespec now = {0, 0}, soon = {0, 20000000};
  if (!old_cancel || !old_getevents || !old_wait) exit(3);
  while (read(pipes[0], buffer, 1) > 0) {}
  say("old io_getevents of nothing", old_getevents(context, 4, events, &now));
  say("old io_getevents of nothing, soon", old_getevents(context, 4, events, &soon));
  say("a poll", io_submit(context, 1, list));
  say("old io_queue_wait", old_wait(context, &now));
  say("old io_cancel", old_cancel(context, &poll));
  say("old io_getevents", old_getevents(context, 4, events, NULL));
  printf("of the poll %d with %ld data %ld\n", events[0].obj == &poll, (long)events[0].res, (long)events[0].data);
  say("old io_cancel of what is gone", old_cancel(context, &poll));
  say("old io_cancel nowhere", old_cancel(context, (struct iocb *)none));
  struct iocb one = made(IO_CMD_PREAD, file, buffer, PAGE, 0);
  list[0] = &one;
  say("a read", io_submit(context, 1, list));
  say("old io_getevents", old_getevents(context, 4, events, NULL));
  io_set_callback(&one, call_back);
  say("a read that calls back", io_submit(context, 1, list));
  while (old_wait(context, &now) == 0 && ((struct ring *)context)->head == ((struct ring *)context)->tail) usleep(1000);
  say("io_queue_run", io_queue_run(context));
}

static void full(void) {
  io_context_t small = 0;
  struct iocb polls[400];
  int accepted = 0, answer = 0;
  say("a small context", set_up(1, &small));
  for (; accepted < 400; accepted++) {
    polls[accepted] = made(IO_CMD_POLL, pipes[0], (void *)POLLIN, 0, 0);
    struct iocb *list[] = {&polls[accepted]};
    if ((answer = io_submit(small, 1, list)) != 1) break;
  }
  /* Which CPUs the thread ran on decides how many the kernel takes. */
  printf("it is full: %d after some\n", answer);
  if (accepted < 90 || accepted > 127) printf("after %d\n", accepted);
  say("io_destroy with polls", io_destroy(small));
}

static void *destroyer(void *of) {
  await_wait(waiting_thread);
  return (void *)(long)io_destroy(of);
}

static void others(void) {
  io_context_t lost = 0;
  struct io_event events[1];
  pthread_t thread;
  void *answer;
  set_up(4, &lost);
  waiting_thread = gettid();
  pthread_create(&thread, NULL, destroyer, lost);
  say("destroyed while waiting", io_getevents(lost, 1, 1, events, &(struct timespec){20, 0}));
  pthread_join(thread, &answer);
  say("io_destroy", (long)answer);
  fflush(stdout);
  pid_t child = fork();
  if (child == 0) {
    struct iocb iocb = made(IO_CMD_PREAD, file, buffer, PAGE, 0), *list[] = {&iocb};
    say("the parent's context", io_submit(context, 1, list));
    say("its events", io_getevents(context, 0, 1, events, NULL));
    say("its end", io_destroy(context));
    context = 0;
    say("the child's own", set_up(4, &context));
    transfer("in the child", IO_CMD_PREAD, file, buffer, PAGE, 0);
    transfer("in the child, direct", IO_CMD_PREAD, direct, buffer, PAGE, 0);
    fflush(stdout);
    _exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  say("the child", status);
  transfer("afterwards", IO_CMD_PREAD, file, buffer, PAGE, 0);
}

/* By number, and nothing else: the drop-in has a function of that name, or the kernel answers. */
static void by_number(void) {
  io_context_t raw = 0;
  struct iocb iocb = made(IO_CMD_PREAD, file, buffer, PAGE, 0), *list[] = {&iocb};
  struct io_event events[4];
  errno = 0;
  say("syscall io_setup", syscall(SYS_io_setup, 4, &raw));
  say("syscall io_submit", syscall(SYS_io_submit, raw, 1, list));
  say("syscall io_getevents", syscall(SYS_io_getevents, raw, 1, 4, events, NULL));
  say("syscall io_getevents, none", syscall(SYS_io_getevents, raw, 0, 4, events, NULL));
  say("syscall io_cancel", syscall(SYS_io_cancel, raw, &iocb, events));
  say("errno", errno);
  say("syscall io_destroy", syscall(SYS_io_destroy, raw));
  say("again", syscall(SYS_io_destroy, raw));
  say("errno", errno);
  say("another call", syscall(SYS_close, -1));
  say("errno", errno);
  say("six arguments", (long)syscall(SYS_mmap, NULL, PAGE, PROT_READ, MAP_PRIVATE, file, PAGE) != -1);
}

static void limits(void) {
  struct rlimit limit = {SIZE + 100, SIZE + 100};
  signal(SIGXFSZ, SIG_IGN);
  fflush(stdout);
  if (fork() == 0) {
    context = 0;
    set_up(4, &context);
    setrlimit(RLIMIT_FSIZE, &limit);
    transfer("a write over the limit", IO_CMD_PWRITE, file, buffer, PAGE, SIZE);
    transfer("a write behind the limit", IO_CMD_PWRITE, file, buffer, PAGE, SIZE + PAGE);
    fflush(stdout);
    _exit(0);
  }
  wait(NULL);
  int end = open("appended", O_RDWR | O_CREAT | O_TRUNC | O_APPEND, 0600);
  transfer("append", IO_CMD_PWRITE, end, "ab", 2, 100);
  transfer("append", IO_CMD_PWRITE, end, "cd", 2, 0);
  say("the end", lseek(end, 0, SEEK_END));
  close(end);
}

/* A number that has named a file, and names what is refused. */
static void refused_by_number(void) {
  int number = 600, folder = open(".", O_RDONLY | O_DIRECTORY), path = open(".", O_PATH);
  if (set_up(8, &context) || dup2(file, number) < 0) exit(2);
  transfer("read of a file", IO_CMD_PREAD, number, buffer, PAGE, 0);
  if (dup2(folder, number) < 0) exit(2);
  transfer("read of a folder by the number", IO_CMD_PREAD, number, buffer, PAGE, 0);
  if (dup2(file, number) < 0) exit(2);
  transfer("read of the file again", IO_CMD_PREAD, number, buffer, PAGE, 0);
  if (dup2(path, number) < 0) exit(2);
  transfer("read of a path by the number", IO_CMD_PREAD, number, buffer, PAGE, 0);
  if (dup2(file, number) < 0) exit(2);
  transfer("write of the file", IO_CMD_PWRITE, number, buffer, PAGE, 0);
  if (dup2(only_read, number) < 0) exit(2);
  transfer("write of what is to be read by the number", IO_CMD_PWRITE, number, buffer, PAGE, 0);
  say("io_destroy", io_destroy(context));
}

/* Everything that a context is asked for, until it is destroyed. */
static void all_but_making(void) {
  requests();
  odd();
  waiting();
  times();
  old_versions();
  signals();
  others();
  limits();
  say("io_destroy", io_destroy(context));
}

/* Once in a context that is only ever given what the kernel does asynchronously first, once in one that begins with a
 * buffered read. */
static void both_rounds(void) {
  setups();
  contexts();
  for (int round = 0; round < 2; round++) {
    context = 0;
    say("round", round);
    if (set_up(64, &context)) exit(2);
    if (round == 1) transfer("first", IO_CMD_PREAD, file, buffer, PAGE, 0);
    all_but_making();
  }
  full();
}

/* Behind so many contexts that the drop-in makes the next ones without the kernel: its own refusals. */
static void behind_many(void) {
  enum { MANY = 512 };
  static io_context_t many[MANY];
  for (int at = 0; at < MANY; at++)
    if (set_up(1, &many[at])) exit(2);
  say("round", MANY);
  setups();
  contexts();
  context = 0;
  if (set_up(64, &context)) exit(2);
  all_but_making();
  full();
  /* They end with the process, all at once: one by one it would take the kernel tens of seconds. */
}

int main(int count, char **args) {
  if (count < 3 || chdir(args[1])) return 2;
  setvbuf(stdout, NULL, _IOLBF, 0); /* what was said before a crash is there */
  file = open("file", O_RDWR | O_CREAT | O_TRUNC, 0600);
  buffer = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  none = mmap(NULL, SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (write(file, buffer, SIZE) != SIZE || fsync(file)) return 2;
  direct = open("file", O_RDWR | O_DIRECT);
  only_read = open("file", O_RDONLY);
  only_write = open("file", O_WRONLY);
  event = eventfd(0, 0);
  if (direct < 0 || pipe2(pipes, 0)) return 2;
  fcntl(pipes[0], F_SETFL, O_NONBLOCK);
  if (!strcmp(args[2], "rounds")) both_rounds();
  if (!strcmp(args[2], "many")) behind_many();
  if (!strcmp(args[2], "numbers")) by_number();
  if (!strcmp(args[2], "reused")) refused_by_number();
  return 0;
}
