/*
 * copytree FROM TO - copies a tree of files. Each file is one syslet: open, open, a loop of read and write, close,
 * close. What is in the cache is copied without another thread; what must be fetched does not hold up the rest.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <syslet.h>
#include <syslet/syslets.h>

enum { OPEN_FROM, OPEN_TO, READ, CLOSE_FROM, WRITE, CLOSE_TO, ATOMS };
enum { AT_ONCE = 64, BUFFER = 65536 };

struct job {
    struct syslet_uatom atoms[ATOMS];
    long from, to, got, put, closed;
    unsigned long at, from_path, to_path, from_flags, to_flags, mode, buffer_at, size;
    char from_name[4096], to_name[4096], buffer[BUFFER];
    struct job *next_free;
};

static struct syslet_uatom *ring[AT_ONCE];
static struct async_head_user head = {0, 0, ring, sizeof ring, 0, 0, 0, 0};
static struct job *free_jobs;
static unsigned outstanding;
static int failed;
static const char *to_root;
static size_t from_length;

static void atom(struct job *job, int which, long nr, unsigned long flags, long *ret, int next)
{
    struct syslet_uatom *a = &job->atoms[which];
    memset(a, 0, sizeof *a);
    a->nr = (unsigned long)nr;
    a->flags = flags;
    a->ret_ptr = ret;
    a->next = next < 0 ? NULL : &job->atoms[next];
}

static void args(struct job *job, int which, void *a, void *b, void *c, void *d)
{
    void *all[4] = {a, b, c, d};
    for (int n = 0; n < 4; n++)
        job->atoms[which].arg_ptr[n] = all[n];
}

static struct job *new_job(void)
{
    struct job *job = calloc(1, sizeof *job);
    if (!job)
        exit(2);
    job->at = (unsigned long)AT_FDCWD;
    job->from_path = (unsigned long)job->from_name;
    job->to_path = (unsigned long)job->to_name;
    job->from_flags = O_RDONLY | O_CLOEXEC;
    job->to_flags = O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC;
    job->buffer_at = (unsigned long)job->buffer;
    job->size = BUFFER;
    atom(job, OPEN_FROM, SYS_openat, SYSLET_STOP_ON_NEGATIVE, &job->from, OPEN_TO);
    args(job, OPEN_FROM, &job->at, &job->from_path, &job->from_flags, NULL);
    atom(job, OPEN_TO, SYS_openat, SYSLET_STOP_ON_NEGATIVE, &job->to, READ);
    args(job, OPEN_TO, &job->at, &job->to_path, &job->to_flags, &job->mode);
    /* The loop: nothing more to read, and the linearly next atom closes; else WRITE, and again. */
    atom(job, READ, SYS_read, SYSLET_STOP_ON_NON_POSITIVE | SYSLET_SKIP_TO_NEXT_ON_STOP, &job->got,
         WRITE);
    args(job, READ, &job->from, &job->buffer_at, &job->size, NULL);
    atom(job, WRITE, SYS_write, SYSLET_STOP_ON_NON_POSITIVE, &job->put, READ);
    args(job, WRITE, &job->to, &job->buffer_at, &job->got, NULL);
    atom(job, CLOSE_FROM, SYS_close, 0, NULL, CLOSE_TO);
    args(job, CLOSE_FROM, &job->from, NULL, NULL, NULL);
    atom(job, CLOSE_TO, SYS_close, 0, &job->closed, -1);
    args(job, CLOSE_TO, &job->to, NULL, NULL, NULL);
    return job;
}

static void fail(const char *name, long error)
{
    fprintf(stderr, "copytree: %s: %s\n", name, strerror((int)-error));
    failed = 1;
}

/* A file is over, with this atom. */
static void finish(struct syslet_uatom *last)
{
    struct job *job = last->private;
    int which = (int)(last - job->atoms);
    if (which == OPEN_FROM)
        fail(job->from_name, job->from);
    else if (which == OPEN_TO)
        fail(job->to_name, job->to);
    else if (which == WRITE || job->got < 0 || job->closed < 0)
        fail(job->to_name, which == WRITE ? job->put : job->got < 0 ? job->got : job->closed);
    if (which == OPEN_TO || which == WRITE)
        close((int)job->from);
    if (which == WRITE)
        close((int)job->to);
    job->next_free = free_jobs;
    free_jobs = job;
}

static void reap(void)
{
    if (async_wait(1, head.user_ring_idx, &head) < 0)
        return;
    struct syslet_uatom *last = __atomic_load_n(&ring[head.user_ring_idx], __ATOMIC_ACQUIRE);
    __atomic_store_n(&ring[head.user_ring_idx], (struct syslet_uatom *)NULL, __ATOMIC_RELEASE);
    head.user_ring_idx = (head.user_ring_idx + 1) % AT_ONCE;
    outstanding--;
    finish(last);
}

static int visit(const char *path, const struct stat *stat, int type, struct FTW *walk)
{
    (void)walk;
    char to[4096];
    if (snprintf(to, sizeof to, "%s%s", to_root, path + from_length) >= (int)sizeof to) {
        fail(path, -ENAMETOOLONG);
        return 0;
    }
    if (type == FTW_D) {
        if (mkdir(to, stat->st_mode & 07777) < 0 && errno != EEXIST)
            fail(to, -errno);
        return 0;
    }
    if (!S_ISREG(stat->st_mode))
        return 0;
    while (outstanding == AT_ONCE)
        reap();
    struct job *job = free_jobs ? free_jobs : new_job();
    free_jobs = job->next_free;
    strcpy(job->to_name, to);
    snprintf(job->from_name, sizeof job->from_name, "%s", path);
    job->mode = stat->st_mode & 07777;
    job->closed = 0;
    for (int n = 0; n < ATOMS; n++)
        job->atoms[n].private = job;
    struct syslet_uatom *last = async_exec(job->atoms, &head);
    if (last == (struct syslet_uatom *)-1) {
        fail(path, -errno);
        return 0;
    }
    if (last)
        finish(last);
    else
        outstanding++;
    return 0;
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: copytree FROM TO\n");
        return 2;
    }
    to_root = argv[2];
    from_length = strlen(argv[1]);
    if (syslet_attach(NULL) < 0)
        return 2;
    if (nftw(argv[1], visit, 32, FTW_PHYS) < 0) {
        perror(argv[1]);
        failed = 1;
    }
    while (outstanding > 0)
        reap();
    syslet_detach();
    return failed;
}
