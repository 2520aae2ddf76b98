/* Requests in memory that is not all there or may only be read, and numbers at the ends of their ranges: a part of
 * answers.c. (Nothing is unmapped: the drop-in remembers which pages were there.) */

/* A block that ends so many bytes behind the end of a page, behind which nothing is. */
static struct iocb *at_edge(size_t behind) {
  static char *page;
  if (!page) page = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  mprotect(page + PAGE, PAGE, PROT_NONE);
  return (struct iocb *)(page + PAGE - sizeof(struct iocb) + behind);
}

/* Submits requests out of a page that may only be read: the kernel writes to each that it takes. */
static void read_only(void) {
  char *page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  struct iocb *blocks = (struct iocb *)page, good = made(IO_CMD_PREAD, file, buffer, PAGE, 0);
  const struct iocb all[] = {
      made(IO_CMD_PREAD, file, buffer, PAGE, 0),      made(IO_CMD_PWRITE, file, buffer, PAGE, 0),
      made(IO_CMD_PREAD, direct, buffer, PAGE, 0),    made(IO_CMD_PREAD, pipes[0], buffer, 1, 0),
      made(IO_CMD_FSYNC, file, 0, 0, 0),              made(IO_CMD_POLL, pipes[1], (void *)POLLOUT, 0, 0),
      made(IO_CMD_PREAD, -1, buffer, PAGE, 0),        made(IO_CMD_PREAD, only_write, buffer, PAGE, 0),
      made(IO_CMD_PREAD, file, none, PAGE, 0),        made(IO_CMD_PREAD, file, buffer, -1, 0),
      made(77, file, buffer, PAGE, 0),                made(IO_CMD_PREAD, file, buffer, PAGE, -1),
      made(IO_CMD_FSYNC, file, 0, 0, 1),              made(IO_CMD_POLL, pipes[1], (void *)0x10001, 0, 0)};
  enum { ALL = sizeof all / sizeof *all };
  memcpy(blocks, all, sizeof all);
  blocks[ALL] = good;
  io_set_eventfd(&blocks[ALL], file); /* which is none */
  blocks[ALL + 1] = good;
  blocks[ALL + 1].key = 5;
  blocks[ALL + 2] = good;
  ((uint64_t *)&blocks[ALL + 2])[6] = 1; /* aio_reserved2 */
  mprotect(page, PAGE, PROT_READ);
  char name[40];
  for (int i = 0; i < ALL + 3; i++) {
    snprintf(name, sizeof name, "to be read only, %d", i);
    one(name, &blocks[i]);
  }
  struct iocb *list[] = {&good, &blocks[0], &good};
  struct io_event events[4];
  say("the second may only be read", io_submit(context, 3, list));
  say("  events", io_getevents(context, 1, 4, events, NULL));
}

static void at_edges(void) {
  struct io_event events[4];
  struct iocb *edge = at_edge(0);
  *edge = made(IO_CMD_PREAD, file, buffer, PAGE, 0);
  one("a block at the end of its page", edge);
  edge = at_edge(32);
  memset(edge, 0, 32);
  one("half a block", edge);
  say("io_cancel of half a block", io_cancel(context, edge, events));
  edge = at_edge(60);
  memset(edge, 0, 4);
  one("the first bytes of a block", edge);
  /* Lists and vectors. */
  struct iocb good = made(IO_CMD_PREAD, file, buffer, PAGE, 0);
  struct iocb **list = (struct iocb **)at_edge(sizeof(struct iocb) - sizeof good.data);
  list[0] = &good;
  say("a list that ends", io_submit(context, 2, list));
  say("  events", io_getevents(context, 1, 4, events, NULL));
  say("a list that ends, of very many", io_submit(context, LONG_MAX, list));
  say("  events", io_getevents(context, 1, 4, events, NULL));
  say("of the least number", io_submit(context, LONG_MIN, list));
  list = (struct iocb **)((char *)list + 4);
  say("half a pointer", io_submit(context, 1, list));
  struct iovec *vectors = (struct iovec *)at_edge(sizeof(struct iocb) - sizeof *vectors);
  *vectors = (struct iovec){buffer, 100};
  transfer("vectors at the end of a page", IO_CMD_PREADV, file, vectors, 1, 0);
  transfer("vectors over the end", IO_CMD_PREADV, file, vectors, 2, 0);
  transfer("write of vectors over the end", IO_CMD_PWRITEV, file, vectors, 2, 0);
  transfer("direct, vectors over the end", IO_CMD_PREADV, direct, vectors, 2, 0);
  transfer("half a vector", IO_CMD_PREADV, file, (char *)vectors + 8, 1, 0);
  transfer("a buffer over the end", IO_CMD_PREAD, file, (char *)at_edge(0), PAGE, 0);
  transfer("write of a buffer over the end", IO_CMD_PWRITE, file, (char *)at_edge(0), PAGE, 0);
  /* Events. */
  struct iocb *two[] = {&good, &good};
  struct io_event *room = (struct io_event *)at_edge(sizeof(struct iocb) - sizeof *room);
  say("two requests", io_submit(context, 2, two));
  say("events over the end", io_getevents(context, 2, 2, room, NULL));
  say("one event at the end", io_getevents(context, 1, 1, room, NULL));
  char *page = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  say("an event to what may only be read", io_getevents(context, 1, 1, (struct io_event *)page, NULL));
  say("an event to null", io_getevents(context, 1, 1, NULL, NULL));
  say("the other", io_getevents(context, 1, LONG_MAX, room, NULL));
}

static void numbers_at_their_ends(void) {
  const long long ends[] = {LLONG_MIN, -2, LLONG_MAX, LLONG_MAX - PAGE, LLONG_MAX - PAGE + 1, 1LL << 62};
  const size_t lengths[] = {SSIZE_MAX, (size_t)SSIZE_MAX + 1, 3UL << 30, 1UL << 31, 1UL << 46, 1UL << 47, 1UL << 48};
  char name[80];
  for (unsigned i = 0; i < sizeof ends / sizeof *ends; i++) {
    snprintf(name, sizeof name, "at %lld: read", ends[i]);
    transfer(name, IO_CMD_PREAD, file, buffer, PAGE, ends[i]);
    transfer("  direct", IO_CMD_PREAD, direct, buffer, PAGE, ends[i]);
    struct iovec vector = {buffer, PAGE};
    transfer("  readv", IO_CMD_PREADV, file, &vector, 1, ends[i]);
  }
  for (unsigned i = 0; i < sizeof lengths / sizeof *lengths; i++) {
    snprintf(name, sizeof name, "read of %zu", lengths[i]);
    transfer(name, IO_CMD_PREAD, file, buffer, lengths[i], SIZE - 100);
    struct iovec vectors[] = {{buffer, lengths[i]}, {buffer, 100}};
    transfer("  readv", IO_CMD_PREADV, file, vectors, 2, SIZE - 100);
  }
  static struct iovec many[1025];
  for (int i = 0; i < 1025; i++) many[i] = (struct iovec){buffer, 1};
  transfer("readv of 1024", IO_CMD_PREADV, file, many, 1024, 0);
  transfer("readv of 1025", IO_CMD_PREADV, file, many, 1025, 0);
  transfer("writev of 1025", IO_CMD_PWRITEV, file, many, 1025, 0);
  transfer("direct readv of 1025", IO_CMD_PREADV, direct, many, 1025, 0);
  transfer("readv of 2^32 + 1", IO_CMD_PREADV, file, many, (1UL << 32) + 1, 0);
  transfer("readv of a negative number", IO_CMD_PREADV, file, many, -1, 0);
  transfer("read of nothing to nowhere", IO_CMD_PREAD, file, none, 0, 0);
  transfer("read of nothing to null", IO_CMD_PREAD, file, NULL, 0, 0);
  transfer("read of nothing into the kernel", IO_CMD_PREAD, file, (void *)0xffff800000000000, 0, 0);
  transfer("read to null", IO_CMD_PREAD, file, NULL, PAGE, 0);
  transfer("opcode 65535", 65535, file, buffer, PAGE, 0);
  transfer("opcode 9", 9, file, buffer, PAGE, 0);
  transfer("opcode 9 of nothing", 9, -1, buffer, PAGE, 0);
  transfer("noop of nothing", IO_CMD_NOOP, -1, NULL, 0, 0);
}

static void other_kinds(void) {
  struct iocb iocb;
  for (int class = 0; class < 8; class++) {
    char name[40];
    for (int level = 0; level < 16; level += 4) {
      iocb = made(IO_CMD_PREAD, file, buffer, PAGE, 0);
      iocb.u.c.flags = 2;
      iocb.aio_reqprio = class << 13 | level;
      snprintf(name, sizeof name, "priority %d of class %d", level, class);
      if (class != 1) one(name, &iocb); /* whether that is allowed depends on who asks */
    }
  }
  transfer("poll with an offset", IO_CMD_POLL, pipes[1], (void *)POLLOUT, 0, 1);
  flagged("poll with a flag", IO_CMD_POLL, pipes[1], 0, 1);
  transfer("poll of a file for nothing", IO_CMD_POLL, only_read, 0, 0, 0);
  transfer("poll of a negative number", IO_CMD_POLL, -1, (void *)POLLIN, 0, 0);
  transfer("fsync with a buffer", IO_CMD_FSYNC, file, buffer, 0, 0);
  flagged("fsync with a flag", IO_CMD_FSYNC, file, 0, 2);
  transfer("fsync of what may only be read", IO_CMD_FSYNC, only_read, 0, 0, 0);
  transfer("fdsync of what may only be read", IO_CMD_FDSYNC, only_read, 0, 0, 0);
  transfer("fsync of an eventfd", IO_CMD_FSYNC, event, 0, 0, 0);
  int folder = open(".", O_RDONLY | O_DIRECTORY), path = open("file", O_PATH), null = open("/dev/null", O_RDWR);
  transfer("fsync of a folder", IO_CMD_FSYNC, folder, 0, 0, 0);
  transfer("fsync of a path", IO_CMD_FSYNC, path, 0, 0, 0);
  transfer("poll of a path", IO_CMD_POLL, path, (void *)POLLIN, 0, 0);
  transfer("poll of a folder", IO_CMD_POLL, folder, (void *)POLLIN, 0, 0);
  transfer("read of /dev/null", IO_CMD_PREAD, null, buffer, PAGE, 0);
  transfer("write to /dev/null", IO_CMD_PWRITE, null, buffer, PAGE, 7);
  transfer("write of a folder", IO_CMD_PWRITE, folder, buffer, PAGE, 0);
  uint64_t one_more = 1;
  write(event, &one_more, sizeof one_more);
  transfer("read of an eventfd", IO_CMD_PREAD, event, buffer, 8, 0);
  transfer("read of an eventfd, too short", IO_CMD_PREAD, event, buffer, 4, 0);
  iocb = made(IO_CMD_PREAD, file, buffer, PAGE, 0);
  io_set_eventfd(&iocb, pipes[0]);
  one("a pipe in place of an eventfd", &iocb);
  io_set_eventfd(&iocb, path);
  one("a path in place of an eventfd", &iocb);
  close(folder), close(path), close(null);
  const int flags[] = {1, 2, 4, 8, 16, 2 | 8, 0x20000000, (int)0x80000000, -1};
  char name[40];
  for (unsigned i = 0; i < sizeof flags / sizeof *flags; i++) {
    snprintf(name, sizeof name, "read with flags %#x", flags[i]);
    flagged(name, IO_CMD_PREAD, file, PAGE, flags[i]);
    flagged("  direct", IO_CMD_PREAD, direct, PAGE, flags[i]);
    if (flags[i] != 8) flagged("  write", IO_CMD_PWRITE, file, PAGE, flags[i]); /* the file system's to say */
  }
  ftruncate(file, SIZE); /* one of them has appended */
}

/* io_pgetevents by number, for one event: the library would look at some of it first. */
static void raw(const char *what, long least, void *time, void *mask) {
  struct io_event events[1];
  errno = 0;
  long answer = syscall(SYS_io_pgetevents, context, least, 1, events, time, mask);
  printf("%s: %ld errno %d\n", what, answer, errno);
}

/* Masks and times of io_pgetevents; io_cancel. */
static void waits(void) {
  struct io_event events[1];
  struct timespec soon = {0, 1000000};
  uint64_t mask = 0;
  struct {
    void *mask;
    size_t size;
  } sets[] = {{&mask, 8}, {&mask, 4}, {&mask, 16}, {NULL, 8}, {NULL, 4}, {none, 8}, {none, 4}};
  for (unsigned i = 0; i < sizeof sets / sizeof *sets; i++) raw("a mask", 1, &soon, &sets[i]);
  raw("a mask nowhere", 1, &soon, none);
  raw("a time nowhere", 1, none, NULL);
  raw("both nowhere", 1, none, none);
  raw("numbers and time bad", 2, none, NULL);
  raw("numbers and mask bad", 2, &soon, &sets[5]);
  say("most below 0", io_getevents(context, 0, -1, events, &soon));
  say("both below 0", io_getevents(context, -1, -1, events, &soon));
  say("the most there can be", io_getevents(context, LONG_MAX, LONG_MAX, events, &soon));
  say("least of the least", io_getevents(context, LONG_MIN, 1, events, &soon));
  struct iocb poll = made(IO_CMD_POLL, pipes[0], (void *)POLLIN, 0, 0), *list[] = {&poll};
  while (read(pipes[0], buffer, 1) > 0) {}
  say("a poll", io_submit(context, 1, list));
  poll.key = 1;
  say("cancelled with another key", io_cancel(context, &poll, events));
  poll.key = 0;
  say("cancelled in no context", io_cancel((io_context_t)buffer, &poll, events));
  say("cancelled without an event", io_cancel(context, &poll, NULL));
  say("comes", io_getevents(context, 1, 1, events, NULL));
  say("io_cancel of null", io_cancel(context, NULL, NULL));
}

static void odd(void) {
  read_only();
  at_edges();
  numbers_at_their_ends();
  other_kinds();
  waits();
}
