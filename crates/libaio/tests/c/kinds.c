/* A read and a write of a file, in a program that may not ask what its file system is in some of the ways there are.
 * Arguments: the file, which has a page, and what is forbidden: "nothing", "statmount", or "all", which is that and
 * opening files. Ends with 0 if both were made. */
#define _GNU_SOURCE
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <string.h>
#include <sys/prctl.h>
#include "check.h"

enum { STATMOUNT = 457 };

/* From here on these calls are as if the kernel did not have them. */
static void forbid(int one, int other) {
  struct sock_filter code[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, one, 1, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, other, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  struct sock_fprog filter = {sizeof code / sizeof *code, code};
  CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
  CHECK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0);
}

static void transfer(io_context_t context, struct iocb *iocb) {
  struct io_event event;
  CHECK(io_submit(context, 1, &iocb) == 1);
  CHECK(io_getevents(context, 1, 1, &event, NULL) == 1 && event.res == PAGE);
}

int main(int count, char **args) {
  CHECK(count == 3);
  io_context_t context = 0;
  struct iocb iocb;
  int file = open(args[1], O_RDWR);
  char *page = aligned_alloc(PAGE, PAGE);
  memset(page, 'x', PAGE);
  CHECK(file >= 0 && set_up(8, &context) == 0);
  if (strcmp(args[2], "nothing")) forbid(STATMOUNT, strcmp(args[2], "all") ? STATMOUNT : SYS_openat);
  io_prep_pread(&iocb, file, page, PAGE, 0);
  transfer(context, &iocb);
  io_prep_pwrite(&iocb, file, page, PAGE, 0);
  transfer(context, &iocb);
  return io_destroy(context) != 0;
}
