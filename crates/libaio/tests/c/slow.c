/* Reads of a file that takes long for each: how long io_submit took at most, and how long all took, in milliseconds.
 * Arguments: the file, how many reads. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <libaio.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static double now(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1e3 + now.tv_nsec / 1e6;
}

int main(int count, char **args) {
  if (count != 3) return 2;
  int file = open(args[1], O_RDONLY), reads = atoi(args[2]);
  io_context_t context = 0;
  struct iocb iocbs[64], *list[1];
  struct io_event events[64];
  static char pages[64][4096];
  if (file < 0 || reads > 64 || io_setup(64, &context)) return 2;
  double begin = now(), longest = 0;
  for (int i = 0; i < reads; i++) {
    io_prep_pread(&iocbs[i], file, pages[i], 4096, i * 4096LL);
    list[0] = &iocbs[i];
    double before = now();
    if (io_submit(context, 1, list) != 1) return 2;
    if (now() - before > longest) longest = now() - before;
  }
  if (io_getevents(context, reads, 64, events, NULL) != reads) return 2;
  for (int i = 0; i < reads; i++)
    if ((long)events[i].res != 4096) return 2;
  printf("%.0f %.0f\n", longest, now() - begin);
  return io_destroy(context) != 0;
}
