/* Much at a time: contexts, threads, forks, ends. The first argument says what, the second is a folder. Says nothing
 * and ends with 0 if all is well. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <libaio.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include <dirent.h>
#include <signal.h>
#include "check.h"

#define PAGES 256

static int file;

/* A file whose every page holds its number. */
static void fill(const char *name) {
  char page[PAGE];
  file = open(name, O_RDWR | O_CREAT | O_TRUNC, 0600);
  CHECK(file >= 0);
  for (int i = 0; i < PAGES; i++) {
    memset(page, i, sizeof page);
    CHECK(pwrite(file, page, PAGE, (off_t)i * PAGE) == PAGE);
  }
  CHECK(fsync(file) == 0);
}

/* Reads all pages through one context, some from the disk; checks each. */
static void read_all(io_context_t context) {
  static const int depth = 32;
  struct iocb iocbs[PAGES], *list[PAGES];
  struct io_event events[32];
  char *memory = malloc(PAGES * PAGE);
  posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED);
  int submitted = 0, done = 0;
  while (done < PAGES) {
    while (submitted < PAGES && submitted - done < depth) {
      io_prep_pread(&iocbs[submitted], file, memory + submitted * PAGE, PAGE, (long long)submitted * PAGE);
      list[submitted] = &iocbs[submitted];
      CHECK(io_submit(context, 1, &list[submitted]) == 1);
      submitted++;
    }
    int came = io_getevents(context, 1, 32, events, NULL);
    CHECK(came > 0);
    for (int i = 0; i < came; i++) {
      int at = events[i].obj - iocbs;
      CHECK((long)events[i].res == PAGE);
      CHECK(memory[at * PAGE] == (char)at && memory[at * PAGE + PAGE - 1] == (char)at);
      memory[at * PAGE]++; /* each comes once */
    }
    done += came;
  }
  CHECK(io_getevents(context, 0, 1, events, NULL) == 0);
  free(memory);
}

static void many_contexts(void) {
  enum { MANY = 65536 };
  static io_context_t contexts[MANY];
  struct io_event event;
  char page[PAGE];
  for (int i = 0; i < MANY; i++) CHECK(set_up(1, &contexts[i]) == 0);
  for (int i = 0; i < MANY; i++) {
    struct iocb iocb, *list[] = {&iocb};
    io_prep_pread(&iocb, file, page, PAGE, (long long)(i % PAGES) * PAGE);
    CHECK(io_submit(contexts[i], 1, list) == 1);
    CHECK(io_getevents(contexts[i], 1, 1, &event, NULL) == 1 && (long)event.res == PAGE);
    CHECK(page[7] == (char)i);
  }
  for (int i = 0; i < MANY; i++) CHECK(io_destroy(contexts[i]) == 0);
}

static void *set_up_and_destroy(void *unused) {
  (void)unused;
  for (int i = 0; i < 30; i++) {
    io_context_t context = 0;
    char *page = malloc(PAGE);
    struct iocb iocb, *list[] = {&iocb};
    CHECK(set_up(4, &context) == 0);
    io_prep_pread(&iocb, file, page, PAGE, (long long)(i % PAGES) * PAGE);
    CHECK(io_submit(context, 1, list) == 1);
    CHECK(io_destroy(context) == 0);
    free(page); /* nobody writes there any more */
  }
  return NULL;
}

static void threads(void *(*work)(void *), int count, void *with) {
  pthread_t ids[100];
  for (int i = 0; i < count; i++) CHECK(pthread_create(&ids[i], NULL, work, with) == 0);
  for (int i = 0; i < count; i++) pthread_join(ids[i], NULL);
}

/* Several threads submit to one context and take from it. */
struct shared {
  io_context_t context;
  atomic_int submitted, taken;
};
enum { EACH = 2000, THREADS = 4 };

static void *share(void *of) {
  struct shared *shared = of;
  static char pages[THREADS * EACH][16];
  struct io_event events[8];
  struct iocb iocb, *list[] = {&iocb};
  for (int i = 0; i < EACH; i++) {
    int number = atomic_fetch_add(&shared->submitted, 1);
    io_prep_pread(&iocb, file, pages[number], 16, (long long)(number % PAGES) * PAGE);
    iocb.data = (void *)(intptr_t)number;
    int answer;
    while ((answer = io_submit(shared->context, 1, list)) == -EAGAIN) {
      struct timespec soon = {0, 1000000};
      int came = io_getevents(shared->context, 1, 8, events, &soon);
      CHECK(came >= 0);
      for (int j = 0; j < came; j++) CHECK(pages[(intptr_t)events[j].data][0] == (char)(intptr_t)events[j].data);
      atomic_fetch_add(&shared->taken, came);
    }
    CHECK(answer == 1);
    int came = io_getevents(shared->context, 0, 8, events, NULL);
    CHECK(came >= 0);
    for (int j = 0; j < came; j++) CHECK((long)events[j].res == 16);
    atomic_fetch_add(&shared->taken, came);
  }
  return NULL;
}

static void one_context(void) {
  struct shared shared = {0};
  struct io_event events[64];
  struct timespec patience = {20, 0};
  CHECK(set_up(64, &shared.context) == 0);
  threads(share, THREADS, &shared);
  while (atomic_load(&shared.taken) < EACH * THREADS) {
    int came = io_getevents(shared.context, 1, 64, events, &patience);
    CHECK(came > 0);
    atomic_fetch_add(&shared.taken, came);
  }
  CHECK(atomic_load(&shared.taken) == EACH * THREADS);
  CHECK(io_destroy(shared.context) == 0);
}

/* As QEMU does it: woken by an eventfd, events read from the ring's memory. */
static int take_from_memory(struct ring *ring) {
  int taken = 0;
  unsigned head = __atomic_load_n(&ring->head, __ATOMIC_RELAXED);
  while (head != __atomic_load_n(&ring->tail, __ATOMIC_ACQUIRE)) {
    CHECK((long)ring->events[head].res == PAGE);
    head = (head + 1) % ring->nr;
    __atomic_store_n(&ring->head, head, __ATOMIC_RELEASE);
    taken++;
  }
  return taken;
}

static void by_memory(int flags, const char *name) {
  io_context_t context = 0;
  int event = eventfd(0, 0), from = open(name, O_RDONLY | flags);
  CHECK(from >= 0 && set_up(128, &context) == 0);
  struct ring *ring = (struct ring *)context;
  CHECK(ring->magic == 0xa10a10a1 && ring->incompat == 0 && ring->length == 32);
  char *memory = aligned_alloc(PAGE, 32 * PAGE);
  struct iocb iocbs[32], *list[32];
  posix_fadvise(from, 0, 0, POSIX_FADV_DONTNEED);
  for (int round = 0; round < 50; round++) {
    for (int i = 0; i < 32; i++) {
      io_prep_pread(&iocbs[i], from, memory + i * PAGE, PAGE, (long long)((round * 32 + i) % PAGES) * PAGE);
      io_set_eventfd(&iocbs[i], event);
      list[i] = &iocbs[i];
    }
    CHECK(io_submit(context, 32, list) == 32);
    for (int taken = 0; taken < 32;) {
      struct pollfd wait = {event, POLLIN, 0};
      uint64_t count;
      CHECK(poll(&wait, 1, 20000) == 1); /* its event was there before it was told */
      CHECK(read(event, &count, sizeof count) == sizeof count);
      taken += take_from_memory(ring);
    }
    for (int i = 0; i < 32; i++) CHECK(memory[i * PAGE + 9] == (char)(round * 32 + i));
  }
  CHECK(io_destroy(context) == 0);
  close(event);
  close(from);
  free(memory);
}

/* A context that has waited for one kind is given the other, while a thread waits. */
static void *wait_for_all(void *of) {
  struct io_event events[8];
  long taken = 0;
  while (taken < 200) {
    int came = io_getevents(of, 1, 8, events, NULL);
    CHECK(came > 0);
    for (int i = 0; i < came; i++) CHECK((long)events[i].res == PAGE);
    taken += came;
  }
  CHECK(taken == 200);
  return NULL;
}

static void mixed(const char *name) {
  int past = open(name, O_RDONLY | O_DIRECT);
  CHECK(past >= 0);
  for (int round = 0; round < 20; round++) {
    io_context_t context = 0;
    pthread_t waiter;
    char *memory = aligned_alloc(PAGE, 200 * PAGE);
    struct iocb iocbs[200], *list[1];
    CHECK(set_up(200, &context) == 0);
    CHECK(pthread_create(&waiter, NULL, wait_for_all, context) == 0);
    for (int i = 0; i < 200; i++) {
      int buffered = i >= 40 && i % 3 != 0;
      io_prep_pread(&iocbs[i], buffered ? file : past, memory + i * PAGE, PAGE, (long long)(i % PAGES) * PAGE);
      list[0] = &iocbs[i];
      CHECK(io_submit(context, 1, list) == 1);
    }
    pthread_join(waiter, NULL);
    for (int i = 0; i < 200; i++) CHECK(memory[i * PAGE + 5] == (char)i);
    CHECK(io_destroy(context) == 0);
    free(memory);
  }
}

/* The ring is moved, and goes on at its new address. */
static void moved(void) {
  io_context_t context = 0;
  struct io_event event;
  char page[PAGE];
  struct iocb iocb, *list[] = {&iocb};
  CHECK(set_up(4, &context) == 0);
  io_prep_pread(&iocb, file, page, PAGE, 0);
  CHECK(io_submit(context, 1, list) == 1);
  CHECK(io_getevents(context, 1, 1, &event, NULL) == 1);
  void *place = mmap(NULL, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  io_context_t there = mremap(context, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, place);
  CHECK(there == place);
  CHECK(io_submit(there, 1, list) == 1);
  CHECK(io_getevents(there, 1, 1, &event, NULL) == 1 && (long)event.res == PAGE);
  CHECK(io_submit(context, 1, list) == -EINVAL);
  CHECK(io_destroy(there) == 0);
}

static int descriptors(void) {
  int count = 0;
  DIR *folder = opendir("/proc/self/fd");
  while (readdir(folder)) count++;
  closedir(folder);
  return count;
}

/* Nothing of ours in the table, also when all is closed; signals go to the program's own threads. */
static pthread_t self;
static atomic_int signals, strangers;
static void handler(int signal) {
  (void)signal;
  signals++;
  if (!pthread_equal(pthread_self(), self)) strangers++;
}

static void keeps_to_itself(const char *name) {
  int before = descriptors();
  io_context_t context = 0;
  self = pthread_self();
  CHECK(set_up(64, &context) == 0);
  read_all(context);
  CHECK(descriptors() == before);
  signal(SIGUSR1, handler);
  for (int i = 0; i < 100; i++) kill(getpid(), SIGUSR1);
  read_all(context);
  CHECK(signals > 0 && strangers == 0);
  closefrom(3);
  file = open(name, O_RDWR);
  read_all(context);
  CHECK(io_destroy(context) == 0);
}

/* A daemon: the child of a child goes on, with contexts of its own. */
static void daemonised(void) {
  io_context_t context = 0;
  CHECK(set_up(64, &context) == 0);
  read_all(context);
  int told[2];
  CHECK(pipe(told) == 0);
  if (fork() == 0) {
    setsid();
    if (fork() != 0) _exit(0);
    context = 0;
    CHECK(set_up(64, &context) == 0);
    read_all(context);
    write(told[1], "x", 1);
    _exit(0);
  }
  close(told[1]);
  char byte;
  CHECK(read(told[0], &byte, 1) == 1);
  wait(NULL);
  read_all(context);
}

/* What was written is there when the program ends without asking. */
static void ends(const char *name) {
  io_context_t context = 0;
  static char big[8 << 20];
  struct iocb iocb, *list[] = {&iocb};
  memset(big, 'w', sizeof big);
  int end = open(name, O_RDWR | O_CREAT | O_TRUNC, 0600);
  CHECK(end >= 0 && set_up(4, &context) == 0);
  io_prep_pwrite(&iocb, end, big, sizeof big, 0);
  CHECK(io_submit(context, 1, list) == 1);
  exit(0);
}

int main(int count, char **args) {
  CHECK(count == 3 && chdir(args[2]) == 0);
  if (!strcmp(args[1], "ends")) ends("ended");
  fill("pages");
  if (!strcmp(args[1], "many")) many_contexts();
  if (!strcmp(args[1], "destroy")) threads(set_up_and_destroy, 50, NULL);
  if (!strcmp(args[1], "one")) one_context();
  if (!strcmp(args[1], "memory")) by_memory(0, "pages"), by_memory(O_DIRECT, "pages");
  if (!strcmp(args[1], "mixed")) mixed("pages");
  if (!strcmp(args[1], "moved")) moved();
  if (!strcmp(args[1], "self")) keeps_to_itself("pages");
  if (!strcmp(args[1], "daemon")) daemonised();
  return 0;
}
