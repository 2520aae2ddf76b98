/* Moments in which two things meet: a context that ends, moves, or changes while somebody uses it; children. The
 * first argument says what, the second is a folder, the third a file whose reads take long. Says nothing and ends with
 * 0 if all is well. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include "check.h"

static int file, pipes[2];
static char *memory;

static double now(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec + now.tv_nsec / 1e9;
}

static void submit(io_context_t context, struct iocb *iocb) { CHECK(io_submit(context, 1, &iocb) == 1); }

static void submit_read(io_context_t context, struct iocb *iocb) {
  io_prep_pread(iocb, file, memory, PAGE, 0);
  submit(context, iocb);
}

/* An eventfd is told before io_destroy returns: after that its number is the program's. The function stands in front of
 * the C library's, for the drop-in as well. */
static int event = -1;
static sem_t telling, destroyed;
static int too_late;

ssize_t write(int to, const void *from, size_t length) {
  if (to == event) {
    struct timespec limit;
    clock_gettime(CLOCK_REALTIME, &limit);
    limit.tv_nsec += 300000000;
    limit.tv_sec += limit.tv_nsec / 1000000000, limit.tv_nsec %= 1000000000;
    sem_post(&telling);
    too_late = sem_timedwait(&destroyed, &limit) == 0;
  }
  return syscall(SYS_write, to, from, length);
}

static void told(void) {
  io_context_t context = 0;
  struct iocb iocb;
  uint64_t count;
  sem_init(&telling, 0, 0), sem_init(&destroyed, 0, 0);
  CHECK(set_up(4, &context) == 0);
  io_prep_pread(&iocb, pipes[0], memory, 1, 0);
  event = eventfd(0, 0);
  io_set_eventfd(&iocb, event);
  submit(context, &iocb);
  CHECK(write(pipes[1], "x", 1) == 1);
  CHECK(sem_wait(&telling) == 0);
  CHECK(io_destroy(context) == 0);
  sem_post(&destroyed);
  CHECK(read(event, &count, sizeof count) == sizeof count && count == 1);
  CHECK(!too_late);
}

/* An eventfd that is full is left so, and nobody waits for it. */
static void full(void) {
  io_context_t context = 0;
  struct iocb iocb;
  struct io_event events[1];
  uint64_t most = UINT64_MAX - 1, count;
  int full = eventfd(0, 0);
  CHECK(write(full, &most, sizeof most) == sizeof most && set_up(4, &context) == 0);
  io_prep_pread(&iocb, file, memory, PAGE, 0);
  io_set_eventfd(&iocb, full);
  submit(context, &iocb);
  CHECK(io_getevents(context, 1, 1, events, NULL) == 1);
  CHECK(read(full, &count, sizeof count) == sizeof count && count >= most);
  CHECK(io_destroy(context) == 0);
}

/* A block that is submitted again while its first request waits: each is ended, the oldest first. */
static void twice(void) {
  io_context_t context = 0;
  struct iocb read, poll;
  struct io_event events[2];
  struct timespec patience = {20, 0};
  int others[2];
  alarm(60);
  CHECK(pipe2(others, 0) == 0 && set_up(8, &context) == 0);
  submit_read(context, &read);
  CHECK(io_getevents(context, 1, 1, events, NULL) == 1);
  for (int round = 0; round < 2; round++) {
    io_prep_poll(&poll, pipes[0], POLLIN);
    submit(context, &poll);
    io_prep_poll(&poll, others[0], POLLIN);
    submit(context, &poll);
    if (round == 1) break;
    CHECK(io_cancel(context, &poll, events) == -EINPROGRESS);
    CHECK(io_getevents(context, 1, 2, events, &patience) == 1 && events[0].obj == &poll && events[0].res == 0);
    CHECK(write(others[1], "x", 1) == 1);
    CHECK(io_getevents(context, 1, 2, events, &patience) == 1 && events[0].res & POLLIN);
    CHECK(syscall(SYS_read, others[0], events, 1) == 1);
  }
  CHECK(io_destroy(context) == 0);
  alarm(0);
}

/* There is a ring. What else is there may be somebody else's, who may read it or not. */
static int is_ring(void *there) {
  int ends[2];
  struct ring ring;
  CHECK(pipe(ends) == 0);
  int is = write(ends[1], there, sizeof ring) == sizeof ring && read(ends[0], &ring, sizeof ring) == sizeof ring &&
           ring.magic == 0xa10a10a1;
  close(ends[0]);
  close(ends[1]);
  return is;
}

/* A program has moved its ring, and has something else where it was, in the page of that number. */
static void hole(int page) {
  io_context_t context = 0;
  struct iocb iocb;
  struct io_event events[1];
  CHECK(set_up(1000, &context) == 0);
  size_t size = (32 + ((struct ring *)context)->nr * sizeof(struct io_event) + PAGE - 1) / PAGE * PAGE;
  CHECK(size > 4 * PAGE);
  submit_read(context, &iocb);
  CHECK(io_getevents(context, 1, 1, events, NULL) == 1);
  void *place = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  io_context_t there = mremap(context, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, place);
  CHECK(there == place);
  void *wanted = (char *)context + page * PAGE;
  char *other = mmap(wanted, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
  CHECK(other == wanted);
  memset(other, 'o', PAGE);
  submit_read(there, &iocb);
  CHECK(io_getevents(there, 1, 1, events, NULL) == 1 && events[0].res == PAGE);
  CHECK(is_ring(there));
  CHECK(io_destroy(there) == 0);
  CHECK(msync(other, PAGE, MS_ASYNC) == 0);
  for (int i = 0; i < PAGE; i++) CHECK(other[i] == 'o');
  CHECK(!is_ring(there));
  munmap(other, PAGE);
}

/* A thread that waits. */
struct waiter {
  io_context_t context;
  int least, most; /* of 0: 8 */
  struct timespec patience;
  volatile pid_t id;
  int came;
  double took;
  struct io_event events[8];
  pthread_t thread;
};

static void *wait_there(void *of) {
  struct waiter *waiter = of;
  double begun = now();
  waiter->id = gettid();
  int most = waiter->most ? waiter->most : 8;
  waiter->came = io_getevents(waiter->context, waiter->least, most, waiter->events, &waiter->patience);
  waiter->took = now() - begun;
  return NULL;
}

/* Starts it, and returns when it is in the kernel's io_getevents. */
static void start(struct waiter *waiter) {
  CHECK(pthread_create(&waiter->thread, NULL, wait_there, waiter) == 0);
  while (!waiter->id || call_of(waiter->id) != SYS_io_getevents) sched_yield();
}

/* A context that is the kernel's, with a poll that nothing comes of by itself. */
static io_context_t kernels(struct iocb *poll) {
  io_context_t context = 0;
  CHECK(set_up(16, &context) == 0);
  io_prep_poll(poll, pipes[0], POLLIN);
  submit(context, poll);
  return context;
}

/* Who waits for several events gets no fewer when the context changes, and each once. */
static void minimum(void) {
  struct iocb poll, sync, reads[2];
  struct waiter waiter = {.context = kernels(&poll), .least = 3, .patience = {60, 0}};
  start(&waiter);
  struct ring *ring = (struct ring *)waiter.context;
  io_prep_fdsync(&sync, file);
  submit(waiter.context, &sync);
  while (__atomic_load_n(&ring->tail, __ATOMIC_ACQUIRE) == 0) sched_yield();
  submit_read(waiter.context, &reads[0]);
  submit_read(waiter.context, &reads[1]);
  pthread_join(waiter.thread, NULL);
  CHECK(waiter.came == 3);
  int seen[3] = {0};
  for (int i = 0; i < 3; i++) seen[waiter.events[i].obj == &sync ? 0 : waiter.events[i].obj == &reads[0] ? 1 : 2]++;
  CHECK(seen[0] == 1 && seen[1] == 1 && seen[2] == 1);
  CHECK(io_destroy(waiter.context) == 0);
}

/* And waits no longer than it was going to. */
static void deadline(void) {
  struct iocb poll, read;
  struct waiter waiter = {.context = kernels(&poll), .least = 3, .patience = {1, 500000000}};
  start(&waiter);
  usleep(1200000); /* most of its time is over */
  submit_read(waiter.context, &read);
  pthread_join(waiter.thread, NULL);
  CHECK(waiter.came == 1 && waiter.events[0].obj == &read);
  CHECK(waiter.took > 1.4 && waiter.took < 2.4);
  CHECK(io_destroy(waiter.context) == 0);
}

/* A thread that waits in the kernel hears of a request of a file that cannot be asked without waiting. */
static void elsewhere(const char *name) {
  int slow = open(name, O_RDONLY);
  struct iocb poll, read;
  struct io_event events[8];
  struct timespec none = {0, 0}, patience = {60, 0};
  struct waiter waiter = {.context = kernels(&poll), .least = 1, .patience = {10, 0}};
  CHECK(slow >= 0);
  start(&waiter);
  io_prep_pread(&read, slow, memory, PAGE, 0);
  submit(waiter.context, &read);
  pthread_join(waiter.thread, NULL);
  CHECK(waiter.came == 1 && waiter.events[0].obj == &read && waiter.events[0].res == PAGE);
  CHECK(write(pipes[1], "x", 1) == 1);
  CHECK(io_getevents(waiter.context, 1, 8, events, &patience) == 1 && events[0].obj == &poll);
  CHECK(io_getevents(waiter.context, 0, 8, events, &none) == 0);
  CHECK(io_destroy(waiter.context) == 0);
}

/* A number that has named a file in memory, and names one whose reads take long: nobody waits in io_submit. */
static void renamed(const char *name) {
  enum { READS = 3 };
  io_context_t context = 0;
  struct iocb reads[READS];
  struct io_event events[READS];
  int number = 0, slow = open(name, O_RDONLY);
  CHECK(slow >= 0 && set_up(16, &context) == 0);
  int memfd = memfd_create("memory", 0);
  CHECK(memfd >= 0 && write(memfd, memory, PAGE) == PAGE && (number = dup2(memfd, 77)) == 77);
  io_prep_pread(&reads[0], number, memory, PAGE, 0);
  submit(context, &reads[0]);
  CHECK(io_getevents(context, 1, 1, events, NULL) == 1 && events[0].res == PAGE);
  CHECK(dup2(slow, number) == number);
  char *pages = aligned_alloc(PAGE, READS * PAGE);
  for (int i = 0; i < READS; i++) {
    io_prep_pread(&reads[i], number, pages + i * PAGE, PAGE, i * 128 * 1024);
    double begun = now();
    submit(context, &reads[i]);
    CHECK(now() - begun < 0.2);
  }
  CHECK(io_getevents(context, READS, READS, events, NULL) == READS);
  CHECK(io_destroy(context) == 0);
}

/* From here on these two calls cannot be made. */
static void forbid(int one, int other, int why) {
  struct sock_filter code[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, one, 1, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, other, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | why),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  struct sock_fprog filter = {sizeof code / sizeof *code, code};
  CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
  CHECK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0);
}

/* Where no thread can be made, requests are made nevertheless. */
static void alone(void) {
  struct iocb iocb;
  struct io_event events[2];
  int direct = open("file", O_RDWR | O_DIRECT);
  CHECK(direct >= 0);
  forbid(SYS_clone, SYS_clone3, EAGAIN);
  /* A context that is the kernel's when it is asked for a read; and one of ours, where the kernel makes none. */
  for (int round = 0; round < 2; round++) {
    io_context_t context = 0;
    if (round == 1) forbid(SYS_io_setup, SYS_io_setup, EPERM);
    int answer = set_up(8, &context);
    if (round == 1 && answer == -EPERM) return; /* the system's library */
    CHECK(answer == 0);
    io_prep_poll(&iocb, pipes[1], POLLOUT);
    submit(context, &iocb);
    submit_read(context, &iocb);
    CHECK(io_getevents(context, 2, 2, events, NULL) == 2);
    io_prep_pread(&iocb, direct, memory, PAGE, 0);
    submit(context, &iocb);
    CHECK(io_getevents(context, 1, 1, events, NULL) == 1 && events[0].res == PAGE);
    submit_read(context, &iocb);
    CHECK(io_getevents(context, 1, 1, events, NULL) == 1 && events[0].res == PAGE);
    CHECK(io_destroy(context) == 0);
  }
}

/* A context that cannot become our own stays the kernel's, and who waits there hears of nothing. */
static void stays(void) {
  struct iocb poll, read;
  struct waiter waiter = {.context = kernels(&poll), .least = 1, .most = 1, .patience = {60, 0}};
  start(&waiter);
  forbid(SYS_mremap, SYS_mremap, ENOMEM);
  io_prep_pread(&read, file, memory, PAGE, 0);
  struct iocb *list[] = {&read};
  CHECK(io_submit(waiter.context, 1, list) == -ENOMEM);
  io_prep_fdsync(&read, file);
  submit(waiter.context, &read);
  pthread_join(waiter.thread, NULL);
  CHECK(waiter.came == 1 && waiter.events[0].obj == &read);
  CHECK(io_destroy(waiter.context) == 0);
}

static void *destroy_here(void *of) { return (void *)(long)io_destroy(of); }

struct destroyer {
  io_context_t context;
  volatile pid_t id;
};

static void *destroy_it(void *of) {
  struct destroyer *destroyer = of;
  destroyer->id = gettid();
  return destroy_here(destroyer->context);
}

/* While io_destroy waits for a read, the context is none any more, for everybody. */
static void dying(const char *name) {
  struct destroyer destroyer = {0, 0};
  struct iocb read, poll, *list[] = {&poll};
  struct io_event events[1];
  pthread_t thread;
  void *answer;
  int slow = open(name, O_RDONLY);
  CHECK(slow >= 0 && set_up(8, &destroyer.context) == 0);
  memset(memory, 'x', PAGE);
  io_prep_pread(&read, slow, memory, PAGE, 0);
  submit(destroyer.context, &read);
  CHECK(pthread_create(&thread, NULL, destroy_it, &destroyer) == 0);
  while (!destroyer.id) sched_yield();
  await_wait(destroyer.id);
  io_prep_poll(&poll, pipes[0], POLLIN);
  CHECK(io_destroy(destroyer.context) == -EINVAL);
  CHECK(io_submit(destroyer.context, 0, list) == -EINVAL);
  CHECK(io_submit(destroyer.context, 1, list) == -EINVAL);
  CHECK(io_cancel(destroyer.context, &poll, events) == -EINVAL);
  CHECK(io_getevents(destroyer.context, 0, 1, events, NULL) == -EINVAL);
  pthread_join(thread, &answer);
  CHECK(answer == NULL);
  CHECK(memory[0] != 'x'); /* the read has ended */
}

static volatile int over;

/* Submits to a context, and cancels, until it is gone. */
static void *submit_until_gone(void *of) {
  struct iocb polls[4], read;
  struct io_event events[4];
  static char here[PAGE]; /* a read may be under way until io_destroy returns */
  for (int at = 0;; at = (at + 1) % 4) {
    struct iocb *list[] = {&polls[at], &read};
    io_prep_poll(&polls[at], pipes[0], POLLIN);
    io_prep_pread(&read, file, here, PAGE, 0);
    int answer = io_submit(of, 2, list);
    if (answer == -EINVAL) break;
    CHECK(answer == -EAGAIN || (answer >= 0 && answer <= 2));
    answer = io_cancel(of, &polls[at], events);
    CHECK(answer == -EINPROGRESS || answer == -EINVAL || answer == -EAGAIN);
    answer = syscall(SYS_io_getevents, of, 0, 4, events, NULL);
    CHECK(answer >= 0 || errno == EINVAL);
  }
  return NULL;
}

/* Its own contexts, of addresses that others have just given up. */
static void *come_and_go(void *unused) {
  while (!over) {
    io_context_t own = 0;
    struct iocb poll, *list[] = {&poll};
    CHECK(set_up(8, &own) == 0);
    io_prep_poll(&poll, pipes[0], POLLIN);
    CHECK(io_submit(own, 1, list) == 1);
    CHECK(io_destroy(own) == 0);
  }
  return unused;
}

/* Two destroy a context while two use it: one of the two has done it. */
static void racing(void) {
  enum { ROUNDS = 30, LONG = 8, POLLS = 2000 };
  pthread_t threads[4], other;
  void *answers[2];
  alarm(120);
  /* One whose end takes a while: there is much to cancel. */
  for (int round = 0; round < LONG; round++) {
    io_context_t context = 0;
    struct iocb read, poll;
    CHECK(set_up(POLLS, &context) == 0);
    submit_read(context, &read);
    for (int at = 1; at < POLLS; at++) {
      io_prep_poll(&poll, pipes[0], POLLIN);
      submit(context, &poll);
    }
    for (int at = 0; at < 2; at++) pthread_create(&threads[at], NULL, destroy_here, context);
    for (int at = 0; at < 2; at++) pthread_join(threads[at], &answers[at]);
    CHECK(((long)answers[0] == 0) != ((long)answers[1] == 0));
  }
  for (int round = 0; round < ROUNDS; round++) {
    io_context_t context = 0;
    struct iocb read;
    CHECK(set_up(64, &context) == 0);
    if (round % 2) submit_read(context, &read);
    pthread_create(&threads[2], NULL, submit_until_gone, context);
    pthread_create(&threads[3], NULL, submit_until_gone, context);
    sched_yield();
    pthread_create(&threads[0], NULL, destroy_here, context);
    pthread_create(&threads[1], NULL, destroy_here, context);
    for (int at = 0; at < 4; at++) pthread_join(threads[at], at < 2 ? &answers[at] : NULL);
    CHECK(((long)answers[0] == 0) != ((long)answers[1] == 0));
    CHECK((long)answers[0] + (long)answers[1] == -EINVAL);
  }
  /* And while others begin: they keep theirs. */
  pthread_create(&other, NULL, come_and_go, NULL);
  for (int round = 0; round < ROUNDS; round++) {
    io_context_t context = 0;
    struct iocb read, poll;
    CHECK(set_up(64, &context) == 0);
    submit_read(context, &read);
    io_prep_poll(&poll, pipes[0], POLLIN);
    submit(context, &poll);
    CHECK(io_destroy(context) == 0);
  }
  over = 1;
  pthread_join(other, NULL);
  alarm(0);
}

/* Threads that submit are guests: their kernel threads are others. In a forked child too. */
static void attached(void) {
  for (int life = 0; life < 2; life++) {
    io_context_t context = 0;
    struct iocb iocb;
    struct io_event events[1];
    CHECK(set_up(4, &context) == 0);
    submit_read(context, &iocb);
    CHECK(io_getevents(context, 1, 1, events, NULL) == 1 && events[0].res == PAGE);
    CHECK(gettid() != getpid());
    if (life == 0) {
      pid_t child = fork();
      int status = 0;
      if (child != 0) {
        CHECK(waitpid(child, &status, 0) == child && status == 0);
        return;
      }
    }
  }
  _exit(0);
}

/* A child that was made without the C library, while a write is away: its end does not wait for what it has not. */
static void bare_child(const char *name) {
  enum { LENGTH = 300 << 10 };
  int slow = open(name, O_RDONLY), status = 0;
  io_context_t context = 0;
  struct iocb iocb;
  struct io_event events[1];
  void *from = mmap(NULL, LENGTH, PROT_READ, MAP_PRIVATE, slow, 0); /* reading there takes long */
  CHECK(slow >= 0 && from != MAP_FAILED && set_up(4, &context) == 0);
  io_prep_pwrite(&iocb, file, from, LENGTH, 0);
  submit(context, &iocb);
  pid_t child = syscall(SYS_fork);
  if (child == 0) {
    alarm(20);
    exit(0);
  }
  CHECK(waitpid(child, &status, 0) == child && status == 0);
  CHECK(io_getevents(context, 1, 1, events, NULL) == 1 && events[0].res == LENGTH);
  CHECK(io_destroy(context) == 0);
}

int main(int count, char **args) {
  CHECK(count == 4 && chdir(args[2]) == 0);
  memory = aligned_alloc(PAGE, PAGE);
  file = open("file", O_RDWR | O_CREAT | O_TRUNC, 0600);
  CHECK(file >= 0 && pipe2(pipes, 0) == 0 && pwrite(file, memory, PAGE, 0) == PAGE && fsync(file) == 0);
  if (!strcmp(args[1], "told")) told();
  if (!strcmp(args[1], "full")) full();
  if (!strcmp(args[1], "twice")) twice();
  if (!strcmp(args[1], "hole")) hole(0), hole(3);
  if (!strcmp(args[1], "minimum")) minimum();
  if (!strcmp(args[1], "deadline")) deadline();
  if (!strcmp(args[1], "elsewhere")) elsewhere(args[3]);
  if (!strcmp(args[1], "renamed")) renamed(args[3]);
  if (!strcmp(args[1], "dying")) dying(args[3]);
  if (!strcmp(args[1], "alone")) alone();
  if (!strcmp(args[1], "stays")) stays();
  if (!strcmp(args[1], "racing")) racing();
  if (!strcmp(args[1], "attached")) attached();
  if (!strcmp(args[1], "bare")) bare_child(args[3]);
  return 0;
}
