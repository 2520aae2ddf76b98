/* Requests, good and bad: a part of answers.c. */

/* A number that has named a pipe, and names a file. Nothing else had it before: what is known of numbers is kept. */
static void reused(void) {
  static int number = 300;
  int ends[2], other = open("reused", O_RDWR | O_CREAT | O_TRUNC, 0600);
  if (other < 0 || pipe2(ends, 0) || write(ends[1], "hello", 5) != 5 || dup2(ends[0], ++number) < 0) exit(2);
  transfer("read of a pipe before its number is reused", IO_CMD_PREAD, number, buffer, 100, 0);
  if (dup2(other, number) < 0) exit(2);
  if (pwrite(other, "a", 1, 0) != 1 || pwrite(other, "b", 1, PAGE) != 1) exit(2);
  transfer("read of a file by the number", IO_CMD_PREAD, number, buffer, 1, PAGE);
  say("byte", buffer[0]);
  say("position", lseek(number, 0, SEEK_CUR));
  close(number);
  close(ends[0]);
  close(ends[1]);
  close(other);
}

static void requests(void) {
  struct iocb iocb, *list[3];
  struct io_event events[4];
  transfer("read", IO_CMD_PREAD, file, buffer, PAGE, 0);
  transfer("read at the end", IO_CMD_PREAD, file, buffer, PAGE, SIZE);
  transfer("read over the end", IO_CMD_PREAD, file, buffer, PAGE, SIZE - 100);
  transfer("read of nothing", IO_CMD_PREAD, file, buffer, 0, 0);
  transfer("write", IO_CMD_PWRITE, file, buffer, PAGE, 0);
  transfer("write in pages", IO_CMD_PWRITE, file, buffer, 100, 50);
  transfer("write of nothing", IO_CMD_PWRITE, file, buffer, 0, 0);
  transfer("direct read", IO_CMD_PREAD, direct, buffer, PAGE, 0);
  transfer("direct write", IO_CMD_PWRITE, direct, buffer, PAGE, 0);
  transfer("direct read, not aligned", IO_CMD_PREAD, direct, buffer + 1, PAGE, 0);
  transfer("direct read, length not aligned", IO_CMD_PREAD, direct, buffer, 100, 0);
  transfer("direct read, offset not aligned", IO_CMD_PREAD, direct, buffer, PAGE, 7);
  struct iovec vectors[] = {{buffer, 100}, {buffer + 200, 300}}, wrong[] = {{buffer, -1}};
  struct iovec kernel[] = {{(void *)0xffff800000000000, 100}};
  transfer("readv", IO_CMD_PREADV, file, vectors, 2, 0);
  transfer("readv of one", IO_CMD_PREADV, file, vectors, 1, 0);
  transfer("readv of none", IO_CMD_PREADV, file, vectors, 0, 0);
  transfer("writev", IO_CMD_PWRITEV, file, vectors, 2, 0);
  transfer("readv of too many", IO_CMD_PREADV, file, vectors, 2000, 0);
  transfer("readv, vectors nowhere", IO_CMD_PREADV, file, none, 1, 0);
  transfer("readv, negative length", IO_CMD_PREADV, file, wrong, 1, 0);
  transfer("readv into the kernel", IO_CMD_PREADV, file, kernel, 1, 0);
  transfer("read to nowhere", IO_CMD_PREAD, file, none, PAGE, 0);
  transfer("write from nowhere", IO_CMD_PWRITE, file, none, PAGE, 0);
  transfer("read into the kernel", IO_CMD_PREAD, file, (void *)0xffff800000000000, PAGE, 0);
  transfer("read of a negative length", IO_CMD_PREAD, file, buffer, -1, 0);
  transfer("read at -1", IO_CMD_PREAD, file, buffer, PAGE, -1);
  transfer("write at -1", IO_CMD_PWRITE, file, buffer, PAGE, -1);
  transfer("read of no descriptor", IO_CMD_PREAD, -1, buffer, PAGE, 0);
  transfer("read of a closed descriptor", IO_CMD_PREAD, 999, buffer, PAGE, 0);
  transfer("read of what is to be written", IO_CMD_PREAD, only_write, buffer, PAGE, 0);
  transfer("write of what is to be read", IO_CMD_PWRITE, only_read, buffer, PAGE, 0);
  transfer("fsync", IO_CMD_FSYNC, file, 0, 0, 0);
  transfer("fdsync", IO_CMD_FDSYNC, file, 0, 0, 0);
  transfer("fsync with an offset", IO_CMD_FSYNC, file, 0, 0, 1);
  transfer("fsync with a length", IO_CMD_FSYNC, file, 0, 1, 0);
  transfer("fsync of a pipe", IO_CMD_FSYNC, pipes[0], 0, 0, 0);
  transfer("fsync of nothing", IO_CMD_FSYNC, -1, 0, 0, 0);
  transfer("opcode 4", 4, file, buffer, PAGE, 0);
  transfer("noop", IO_CMD_NOOP, file, buffer, PAGE, 0);
  transfer("opcode 77", 77, file, buffer, PAGE, 0);
  static int fresh = 500; /* that nothing else had before: what is known of numbers is kept */
  int folder = open(".", O_RDONLY | O_DIRECTORY);
  if (dup2(folder, ++fresh) < 0) exit(2);
  transfer("read of a folder", IO_CMD_PREAD, fresh, buffer, PAGE, 0);
  close(fresh);
  int path = open(".", O_PATH);
  transfer("read of a path", IO_CMD_PREAD, path, buffer, PAGE, 0);
  close(path);
  close(folder);
  write(pipes[1], "hello", 5);
  transfer("read of a pipe", IO_CMD_PREAD, pipes[0], buffer, 100, 12345);
  flagged("read of an empty pipe without waiting", IO_CMD_PREAD, pipes[0], 100, 8);
  transfer("write to a pipe", IO_CMD_PWRITE, pipes[1], "x", 1, 99);
  static int number = 400; /* that nothing else had before */
  int packets[2];
  if (pipe2(packets, O_DIRECT) || dup2(packets[0], ++number) < 0 || dup2(packets[1], ++number) < 0) exit(2);
  transfer("write of a packet", IO_CMD_PWRITE, number, "ab", 2, 0);
  transfer("write of another", IO_CMD_PWRITE, number, "c", 1, 0);
  transfer("read of a packet", IO_CMD_PREAD, number - 1, buffer, 100, 0);
  close(number - 1), close(number);
  close(packets[0]), close(packets[1]);
  reused();
  transfer("poll of a pipe", IO_CMD_POLL, pipes[0], (void *)POLLIN, 0, 0);
  transfer("poll to write", IO_CMD_POLL, pipes[1], (void *)POLLOUT, 0, 0);
  transfer("poll of a file", IO_CMD_POLL, file, (void *)POLLIN, 0, 0);
  transfer("poll for too much", IO_CMD_POLL, pipes[0], (void *)0x10001, 0, 0);
  transfer("poll with a length", IO_CMD_POLL, pipes[0], (void *)POLLIN, 1, 0);
  transfer("poll of nothing", IO_CMD_POLL, 999, (void *)POLLIN, 0, 0);
  flagged("read, cached, without waiting", IO_CMD_PREAD, file, PAGE, 8);
  flagged("write, on the disk", IO_CMD_PWRITE, file, PAGE, 2);
  flagged("read with an unknown flag", IO_CMD_PREAD, file, PAGE, 0x4000);

  iocb = made(IO_CMD_PREAD, file, buffer, PAGE, 0);
  ((uint64_t *)&iocb)[6] = 1; /* aio_reserved2 */
  one("reserved", &iocb);
  iocb = made(IO_CMD_PREAD, file, buffer, PAGE, 0);
  iocb.u.c.flags = 0xf0;
  one("unknown bits", &iocb);
  iocb = made(IO_CMD_PREAD, file, buffer, PAGE, 0);
  iocb.u.c.flags = 2;
  iocb.aio_reqprio = 2 << 13 | 4;
  one("a priority", &iocb);
  iocb.aio_reqprio = 7 << 13;
  one("a priority that is none", &iocb);

  static const int bad[] = {-1, 999, 0 /* file */};
  for (int i = 0; i < 3; i++) {
    iocb = made(IO_CMD_PREAD, file, buffer, PAGE, 0);
    io_set_eventfd(&iocb, i == 2 ? file : bad[i]);
    one("a bad eventfd", &iocb);
  }
  uint64_t count = 0;
  iocb = made(IO_CMD_PREAD, file, buffer, PAGE, 0);
  io_set_eventfd(&iocb, event);
  one("an eventfd", &iocb);
  read(event, &count, sizeof count);
  say("its count", count);

  struct iocb good = made(IO_CMD_PREAD, file, buffer, PAGE, 0);
  struct iocb bad_one = made(IO_CMD_PREAD, -1, buffer, PAGE, 0);
  list[0] = &good, list[1] = &bad_one, list[2] = &good;
  say("the second is bad", io_submit(context, 3, list));
  say("  events", io_getevents(context, 1, 4, events, NULL));
  list[0] = &good, list[1] = NULL;
  say("the second is nowhere", io_submit(context, 2, list));
  say("  events", io_getevents(context, 1, 4, events, NULL));
  list[0] = NULL;
  say("the first is nowhere", io_submit(context, 1, list));
  list[0] = (struct iocb *)none;
  say("the first is where nothing is", io_submit(context, 1, list));
  say("a list nowhere", io_submit(context, 1, (struct iocb **)none));
  say("a list that is null", io_submit(context, 1, NULL));
  say("nr -1", io_submit(context, -1, list));
  say("nr 0", io_submit(context, 0, list));
}
