/* A client writes blocks of many sizes and has them synced, forks now and then, and is killed at any time; then every
 * block is looked at: what was acknowledged is there, and every block is whole. Arguments: a folder, seconds, a seed.
 * Compiled with POSIX_AIO it does so by aio_write and its kin, else by libaio. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { BLOCKS = 64, MOST = 64 << 10, DEPTH = 16 };

struct head {
  uint64_t block, version, length, sum;
};

/* What both processes see: by block, the version that was acknowledged as synced. */
static struct {
  volatile uint64_t synced[BLOCKS];
  volatile uint64_t writes;
} *shared;

static uint64_t state;
static uint64_t dice(uint64_t sides) {
  state ^= state << 13, state ^= state >> 7, state ^= state << 17;
  return state % sides;
}

static uint64_t sum_of(const char *from, uint64_t length) {
  uint64_t sum = 1469598103934665603u;
  for (uint64_t i = 0; i < length; i++) sum = (sum ^ (unsigned char)from[i]) * 1099511628211u;
  return sum;
}

static void die(const char *what, int block) {
  fprintf(stderr, "%s: block %d (errno %d)\n", what, block, errno);
  exit(1);
}

static void make(char *place, int block, uint64_t version) {
  struct head *head = (struct head *)place;
  head->block = block, head->version = version;
  head->length = 1 + dice(MOST - sizeof *head - 1);
  memset(place + sizeof *head, (int)(version * 31 + block), head->length);
  head->sum = sum_of(place + sizeof *head, head->length);
}

/* Looks at all blocks; says what version each has. Two copies: one may be half-written when the client is killed. */
static void check(int file, uint64_t *versions) {
  static char place[MOST];
  for (int block = 0; block < BLOCKS; block++) {
    versions[block] = 0;
    for (int copy = 0; copy < 2; copy++) {
      off_t at = (off_t)(block * 2 + copy) * MOST;
      struct head *head = (struct head *)place;
      if (pread(file, place, MOST, at) < (long)sizeof *head) continue;
      if (head->version == 0 || head->block != (uint64_t)block || head->length > MOST - sizeof *head) continue;
      if (head->sum != sum_of(place + sizeof *head, head->length)) continue;
      if (head->version % 2 != (uint64_t)copy) die("a copy is in the other's place", block);
      if (head->version > versions[block]) versions[block] = head->version;
    }
    if (versions[block] < shared->synced[block]) die("a synced block is lost", block);
  }
}

/* A write of the client's. */
struct write {
  int block;
  char *from;
  size_t length;
  off_t at;
};

#ifdef POSIX_AIO
#include <aio.h>

static void begin(void) {}

static struct aiocb made(int file, void *buffer, size_t length, off_t at) {
  struct aiocb block = {.aio_fildes = file, .aio_buf = buffer, .aio_nbytes = length, .aio_offset = at};
  block.aio_sigevent.sigev_notify = SIGEV_NONE;
  return block;
}

static ssize_t ended(struct aiocb *block) {
  const struct aiocb *list[] = {block};
  while (aio_error(block) == EINPROGRESS) aio_suspend(list, 1, NULL);
  return aio_return(block);
}

/* The sync is asked for with the writes under way. */
static void write_and_sync(int file, struct write *writes, int count) {
  struct aiocb blocks[DEPTH], sync = made(file, NULL, 0, 0);
  for (int i = 0; i < count; i++) {
    blocks[i] = made(file, writes[i].from, writes[i].length, writes[i].at);
    if (aio_write(&blocks[i])) die("aio_write", i);
  }
  if (aio_fsync(O_DSYNC, &sync)) die("aio_fsync", 0);
  if (ended(&sync) != 0) die("a sync", 0);
  for (int i = 0; i < count; i++)
    if (ended(&blocks[i]) != (ssize_t)writes[i].length) die("a write is short", writes[i].block);
}

static int can_read(int file, char *to) {
  struct aiocb block = made(file, to, 100, 0);
  return aio_read(&block) == 0 && ended(&block) == 100;
}
#else
#include <libaio.h>

static io_context_t context;

static void begin(void) {
  context = 0;
  if (io_setup(2 * DEPTH, &context)) die("io_setup", 0);
}

static void submit(struct iocb **list, int count) {
  for (int done = 0; done < count;) {
    int answer = io_submit(context, count - done, list + done);
    if (answer <= 0) die("io_submit", answer);
    done += answer;
  }
}

/* Linux syncs what is over when the sync is submitted. */
static void write_and_sync(int file, struct write *writes, int count) {
  struct iocb iocbs[DEPTH], *list[DEPTH];
  struct io_event events[DEPTH];
  for (int i = 0; i < count; i++) {
    io_prep_pwrite(&iocbs[i], file, writes[i].from, writes[i].length, writes[i].at);
    list[i] = &iocbs[i];
  }
  submit(list, count);
  for (int done = 0; done < count;) {
    int came = io_getevents(context, 1, DEPTH, events, NULL);
    if (came <= 0) die("io_getevents", came);
    for (int i = 0; i < came; i++)
      if (events[i].res != events[i].obj->u.c.nbytes) die("a write is short", (int)events[i].res);
    done += came;
  }
  io_prep_fdsync(&iocbs[0], file);
  submit(list, 1);
  if (io_getevents(context, 1, 1, events, NULL) != 1 || events[0].res != 0) die("a sync", 0);
}

static int can_read(int file, char *to) {
  struct iocb read, *list[] = {&read};
  struct io_event event;
  begin();
  io_prep_pread(&read, file, to, 100, 0);
  submit(list, 1);
  return io_getevents(context, 1, 1, &event, NULL) == 1 && event.res == 100;
}
#endif

static void client(const char *name, int flags) {
  static char places[DEPTH][MOST] __attribute__((aligned(4096)));
  int file = open(name, O_RDWR | flags), plain = open(name, O_RDONLY);
  if (file < 0 || plain < 0) die("the client cannot begin", 0);
  begin();
  uint64_t versions[BLOCKS];
  check(plain, versions);
  for (;;) {
    struct write writes[DEPTH];
    int count = 1 + dice(DEPTH), first = dice(BLOCKS);
    for (int i = 0; i < count; i++) {
      int block = (first + i) % BLOCKS;
      uint64_t version = ++versions[block];
      make(places[i], block, version);
      size_t length = flags & O_DIRECT ? MOST : sizeof(struct head) + ((struct head *)places[i])->length;
      writes[i] = (struct write){block, places[i], length, (off_t)(block * 2 + version % 2) * MOST};
    }
    write_and_sync(file, writes, count);
    for (int i = 0; i < count; i++) shared->synced[writes[i].block] = versions[writes[i].block];
    shared->writes += count;
    if (dice(20) == 0) {
      /* A child, with threads of the parent's that are not there. */
      pid_t child = fork();
      if (child == 0) _exit(!can_read(plain, places[0]));
      int status = 0;
      if (waitpid(child, &status, 0) != child || status != 0) die("a child", status);
    }
  }
}

int main(int count, char **args) {
  if (count != 4 || chdir(args[1])) return 2;
  int seconds = atoi(args[2]);
  state = strtoull(args[3], NULL, 10) | 1;
  shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  int file = open("soak", O_RDWR | O_CREAT | O_TRUNC, 0600);
  if (file < 0 || ftruncate(file, (off_t)BLOCKS * 2 * MOST)) return 2;
  time_t end = time(NULL) + seconds;
  int killed = 0;
  while (time(NULL) < end) {
    int flags = dice(3) == 0 ? O_DIRECT : 0;
    uint64_t before = shared->writes;
    pid_t child = fork();
    state += 2 * killed;
    if (child == 0) {
      client("soak", flags);
      _exit(1);
    }
    /* At any time, but not before it has done something. */
    int status;
    while (shared->writes == before && waitpid(child, &status, WNOHANG) == 0) usleep(100);
    usleep(dice(100000));
    kill(child, SIGKILL);
    waitpid(child, &status, 0);
    if (!WIFSIGNALED(status)) die("the client has ended by itself", status);
    uint64_t versions[BLOCKS];
    check(file, versions);
    killed++;
  }
  printf("%d clients killed, %lu writes synced\n", killed, (unsigned long)shared->writes);
  return killed == 0;
}
