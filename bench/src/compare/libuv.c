/* The works as libuv does them: its functions for files, which its threads carry out.
 *
 * libuv FILE LISTED DEPTH: then, for each line "WORK COUNT" that is read, WORK is done COUNT times, DEPTH at a time,
 * and the nanoseconds of all and those of CPU time of libuv's threads are written on a line, or "error: ..." if one
 * failed. The files at which slot N makes something are beside FILE: new-N, moving-N and other-N; so are those that are
 * not in memory: cold, and cold-N/file. */

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <uv.h>

/* COLD and APART as in files.rs: so many blocks and files, and the way from one block to the next. */
enum { LARGEST = 1 << 20, DEEPEST = 32, LISTED = 100, COLD = 256, APART = 128 << 10 };

struct slot {
    uv_fs_t fs;
    uv_getaddrinfo_t address;
    uv_file file, opened;
    char *memory, *new, *moving, *other, *path;
    int step;
};

static uv_loop_t *loop;
static const char *file, *listed, *work;
static struct slot slots[DEEPEST];
static uv_file cold;
static unsigned long colds; /* cold works of the batch so far */
static long left;
static int64_t end; /* where the next write goes that makes the file longer */
static int failed;

static void next(struct slot *slot, long result);

static void answered(uv_fs_t *fs)
{
    struct slot *slot = fs->data;
    long result = fs->result;

    if (fs->fs_type == UV_FS_SCANDIR && result != LISTED)
        result = UV_EOF;
    uv_fs_req_cleanup(fs);
    next(slot, result);
}

static void found(uv_getaddrinfo_t *request, int status, struct addrinfo *addresses)
{
    uv_freeaddrinfo(addresses);
    next(request->data, status);
}

static size_t bytes(void)
{
    if (!strcmp(work, "read64k") || !strcmp(work, "cold_read64k"))
        return 64 << 10;
    return strcmp(work, "read1m") ? 4 << 10 : LARGEST;
}

/* Begins the next step of the slot's work. 1: there is none; negative: it cannot be begun. */
static int begin(struct slot *slot)
{
    uv_fs_t *fs = &slot->fs;
    uv_buf_t buffer = uv_buf_init(slot->memory, bytes());
    int step = slot->step++;

    fs->data = slot;
    if (!strcmp(work, "metadata"))
        return step ? 1 : uv_fs_stat(loop, fs, file, answered);
    if (!strcmp(work, "open_close"))
        switch (step) {
        case 0: return uv_fs_open(loop, fs, file, UV_FS_O_RDONLY, 0, answered);
        case 1: return uv_fs_close(loop, fs, slot->opened, answered);
        default: return 1;
        }
    if (!strcmp(work, "cold_metadata")) {
        if (step)
            return 1;
        sprintf(slot->path, "%.*s/cold-%lu/file", (int)(strrchr(file, '/') - file), file, colds++ % COLD);
        return uv_fs_stat(loop, fs, slot->path, answered);
    }
    if (!strncmp(work, "cold_read", 9))
        return step ? 1 : uv_fs_read(loop, fs, cold, &buffer, 1, (int64_t)(colds++ * 167 % COLD) * APART, answered);
    if (!strncmp(work, "read", 4))
        return step ? 1 : uv_fs_read(loop, fs, slot->file, &buffer, 1, 0, answered);
    if (!strcmp(work, "write4k"))
        return step ? 1 : uv_fs_write(loop, fs, slot->file, &buffer, 1, 0, answered);
    if (!strcmp(work, "fsync"))
        switch (step) {
        case 0: end += 4 << 10; return uv_fs_write(loop, fs, slot->file, &buffer, 1, end - (4 << 10), answered);
        case 1: return uv_fs_fsync(loop, fs, slot->file, answered);
        default: return 1;
        }
    if (!strcmp(work, "unlink"))
        switch (step) {
        case 0: return uv_fs_open(loop, fs, slot->new, UV_FS_O_WRONLY | UV_FS_O_CREAT, 0600, answered);
        case 1: return uv_fs_close(loop, fs, slot->opened, answered);
        case 2: return uv_fs_unlink(loop, fs, slot->new, answered);
        default: return 1;
        }
    if (!strcmp(work, "mkdir"))
        switch (step) {
        case 0: return uv_fs_mkdir(loop, fs, slot->new, 0700, answered);
        case 1: return uv_fs_rmdir(loop, fs, slot->new, answered);
        default: return 1;
        }
    if (!strcmp(work, "rename"))
        switch (step) {
        case 0: return uv_fs_rename(loop, fs, slot->moving, slot->other, answered);
        case 1: return uv_fs_rename(loop, fs, slot->other, slot->moving, answered);
        default: return 1;
        }
    if (!strcmp(work, "getdents"))
        return step ? 1 : uv_fs_scandir(loop, fs, listed, 0, answered);
    if (!strcmp(work, "getaddrinfo")) {
        slot->address.data = slot;
        return step ? 1 : uv_getaddrinfo(loop, &slot->address, found, "localhost", "80", NULL);
    }
    return UV_ENOTSUP;
}

/* The slot's last step has ended with `result`. */
static void next(struct slot *slot, long result)
{
    int begun;

    if (result < 0)
        failed = result;
    else if (slot->fs.fs_type == UV_FS_OPEN)
        slot->opened = result;
    else if ((slot->fs.fs_type == UV_FS_READ || slot->fs.fs_type == UV_FS_WRITE) && (size_t)result != bytes())
        failed = UV_EOF;
    while (!failed) {
        begun = begin(slot);
        if (begun == 0)
            return;
        if (begun < 0)
            failed = begun;
        else if (left == 0)
            return;
        else
            left--;
        slot->step = 0;
    }
}

static char *name(const char *kind, int at)
{
    const char *end = strrchr(file, '/');
    size_t length = end - file + 32;
    char *made = malloc(length);

    if (made)
        snprintf(made, length, "%.*s/%s-%d", (int)(end - file), file, kind, at);
    return made;
}

static uint64_t spent(clockid_t clock)
{
    struct timespec time;

    clock_gettime(clock, &time);
    return time.tv_sec * UINT64_C(1000000000) + time.tv_nsec;
}

/* CPU time of all threads but this one: each by its own clock, because that of the process is late by up to a tick. */
static uint64_t elsewhere(void)
{
    DIR *threads = opendir("/proc/self/task");
    struct dirent *entry;
    uint64_t sum = 0;

    while (threads && (entry = readdir(threads))) {
        int thread = atoi(entry->d_name);

        if (thread && thread != getpid())
            sum += spent((clockid_t)(~(unsigned)thread << 3 | 6)); /* of a thread, as the scheduler counts */
    }
    if (threads)
        closedir(threads);
    return sum;
}

int main(int argc, char **argv)
{
    static char line[64], wanted[32];
    int depth = argc == 4 ? atoi(argv[3]) : 0;
    long count;

    if (depth < 1 || depth > DEEPEST || !strchr(argv[1], '/'))
        return 2;
    loop = uv_default_loop();
    file = argv[1];
    listed = argv[2];
    work = wanted;
    for (int at = 0; at < depth; at++) {
        struct slot *slot = &slots[at];
        uv_fs_t open;

        slot->memory = calloc(1, LARGEST);
        slot->new = name("new", at);
        slot->moving = name("moving", at);
        slot->other = name("other", at);
        slot->path = name("cold-NNN/file", at);
        slot->file = uv_fs_open(loop, &open, file, UV_FS_O_RDWR, 0, NULL);
        uv_fs_req_cleanup(&open);
        if (!slot->memory || !slot->new || !slot->moving || !slot->other || !slot->path || slot->file < 0)
            return 2;
    }
    {
        uv_fs_t open;
        char *path = name("cold", 0);

        if (!path)
            return 2;
        *strrchr(path, '-') = '\0';
        cold = uv_fs_open(loop, &open, path, UV_FS_O_RDONLY, 0, NULL);
        uv_fs_req_cleanup(&open);
        if (cold < 0)
            return 2;
    }
    puts("ready");
    fflush(stdout);
    while (fgets(line, sizeof line, stdin) && sscanf(line, "%31s %ld", wanted, &count) == 2) {
        uint64_t before = elsewhere(), start = uv_hrtime(), time;

        failed = 0;
        colds = 0;
        end = LARGEST;
        left = count - depth;
        for (int at = 0; at < depth; at++) {
            slots[at].step = 0;
            slots[at].fs.fs_type = UV_FS_UNKNOWN;
            next(&slots[at], 0);
        }
        uv_run(loop, UV_RUN_DEFAULT);
        time = uv_hrtime() - start;
        if (failed)
            printf("error: %s\n", uv_strerror(failed));
        else
            printf("%llu %llu\n", (unsigned long long)time, (unsigned long long)(elsewhere() - before));
        fflush(stdout);
    }
    return 0;
}
