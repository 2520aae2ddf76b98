/* Private descriptors: numbers that nobody gets who asks for the lowest one. */
#define _GNU_SOURCE
#include "check.h"

#include "historic.h"

#include <limits.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <syslet/nonseqfd.h>

IS(NONSEQFD_CLOSE, 1);

/* The numbers that are given: of the upper half of what the limit allows, at most of 65,536. */
struct range {
    int start, end;
};

static int ends[2];

static struct rlimit limit_of_files(void)
{
    struct rlimit limit;
    CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    return limit;
}

static void set_limit(rlim_t files)
{
    struct rlimit limit = limit_of_files();
    limit.rlim_cur = files;
    CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
}

static struct range range(void)
{
    rlim_t files = limit_of_files().rlim_cur;
    int end = files < 65536 ? (int)files : 65536;
    return (struct range){end / 2, end};
}

static int is_in(struct range range, int number)
{
    return number >= range.start && number < range.end;
}

static int is_open(int number)
{
    return fcntl(number, F_GETFD) >= 0;
}

/* One that is no file's: the lowest was just closed. */
static int closed_one(void)
{
    int number = dup(ends[0]);
    CHECK(number >= 0 && close(number) == 0);
    return number;
}

static void numbers(void)
{
    struct range all = range();
    int one = nonseqfd(ends[1], 0), two = nonseqfd(ends[1], 0);
    CHECK(is_in(all, one) && is_in(all, two) && one != two);
    /* Who asks for the lowest gets it as before. */
    int lowest = dup(ends[0]);
    CHECK(lowest >= 0 && lowest < all.start);
    close(lowest);
    close(one);
    close(two);
}

/* Nobody can foretell the next number from those before it: they are not one distance apart. */
static void unpredictable(void)
{
    enum { DRAWS = 16 };
    int drawn[DRAWS], same = 1;
    for (int n = 0; n < DRAWS; n++) {
        drawn[n] = nonseqfd(ends[0], 0);
        CHECK(is_in(range(), drawn[n]) && close(drawn[n]) == 0);
        same &= n < 2 || drawn[n] - drawn[n - 1] == drawn[1] - drawn[0];
    }
    CHECK(!same);
}

/* The same open file, at the same position; the old one stays. */
static void duplicates(void)
{
    int file = memfd_create("private", 0), made = nonseqfd(file, 0);
    char byte = 0;
    CHECK(file >= 0 && write(made, "ab", 2) == 2);
    EQUAL(lseek(file, 0, SEEK_CUR), 2);
    EQUAL(lseek(file, 1, SEEK_SET), 1);
    CHECK(read(made, &byte, 1) == 1 && byte == 'b');
    close(file);
    EQUAL(lseek(made, 0, SEEK_CUR), 2);
    close(made);
}

static void close_on_exec(void)
{
    for (int flag = 0; flag <= FD_CLOEXEC; flag += FD_CLOEXEC) {
        int old = dup(ends[0]);
        CHECK(fcntl(old, F_SETFD, flag) == 0);
        int made = nonseqfd(old, 0);
        EQUAL(fcntl(made, F_GETFD), FD_CLOEXEC);
        EQUAL(fcntl(old, F_GETFD), flag);
        close(old);
        close(made);
    }
}

static void closing_the_old_one(void)
{
    int old = dup(ends[1]), made = nonseqfd(old, NONSEQFD_CLOSE);
    char byte = 0;
    CHECK(is_in(range(), made) && !is_open(old));
    EQUAL(fcntl(made, F_GETFD), FD_CLOEXEC);
    CHECK(write(made, "n", 1) == 1 && read(ends[0], &byte, 1) == 1 && byte == 'n');
    /* One that has such a number already gets another. */
    int moved = nonseqfd(made, NONSEQFD_CLOSE);
    CHECK(is_in(range(), moved) && moved != made && !is_open(made));
    close(moved);
}

static void unknown_flags(void)
{
    int old = dup(ends[0]);
    for (int bit = 1; bit < 32; bit++) {
        int flag = (int)(1u << bit);
        EQUAL(nonseqfd(old, flag), -EINVAL);
        EQUAL(nonseqfd(old, flag | NONSEQFD_CLOSE), -EINVAL);
        EQUAL(nonseqfd(-1, flag), -EINVAL);
    }
    CHECK(is_open(old));
    close(old);
}

static void bad_descriptors(void)
{
    int bad[] = {-1, INT_MIN, INT_MAX, AT_FDCWD, closed_one(), range().end};
    for (size_t n = 0; n < sizeof bad / sizeof *bad; n++) {
        EQUAL(nonseqfd(bad[n], 0), -EBADF);
        EQUAL(nonseqfd(bad[n], NONSEQFD_CLOSE), -EBADF);
    }
}

/* It answers by itself. */
static void errno_is_kept(void)
{
    errno = ETXTBSY;
    EQUAL(nonseqfd(-1, 0), -EBADF);
    EQUAL(nonseqfd(ends[0], 2), -EINVAL);
    int made = nonseqfd(ends[0], 0);
    CHECK(errno == ETXTBSY && made >= 0);
    close(made);
}

/* Below 16 there are no numbers to spare; the old one is not closed in vain. */
static void low_limits(void)
{
    int old = dup(ends[0]);
    rlim_t before = limit_of_files().rlim_cur;
    for (rlim_t files = 0; files < 16; files++) {
        set_limit(files);
        EQUAL(nonseqfd(old, 0), -EMFILE);
        EQUAL(nonseqfd(old, NONSEQFD_CLOSE), -EMFILE);
        EQUAL(nonseqfd(-1, 0), -EBADF);
        EQUAL(nonseqfd(old, 2), -EINVAL);
    }
    set_limit(before);
    CHECK(is_open(old));
    close(old);
}

/* Until all of the upper half are taken; one that is given back is given again. */
static void the_last_number(void)
{
    struct range all = {8, 16};
    int taken[8], count = 0, made;
    rlim_t before = limit_of_files().rlim_cur;
    set_limit(16);
    while ((made = nonseqfd(ends[0], 0)) >= 0) {
        CHECK(count < 8 && is_in(all, made));
        taken[count++] = made;
    }
    EQUAL(made, -EMFILE);
    CHECK(count > 0);
    EQUAL(nonseqfd(taken[0], NONSEQFD_CLOSE), -EMFILE);
    CHECK(is_open(taken[0]));
    /* The highest: whichever number is drawn, it is one that is not below. */
    int highest = 0;
    for (int n = 1; n < count; n++)
        highest = taken[n] > taken[highest] ? n : highest;
    close(taken[highest]);
    taken[highest] = nonseqfd(ends[0], 0);
    CHECK(is_in(all, taken[highest]));
    while (count > 0)
        close(taken[--count]);
    set_limit(before);
}

/* The kernel's table grows to the highest number: however many are allowed, it is below 65,536. */
static void high_limits(void)
{
    struct rlimit before = limit_of_files(), high = before;
    high.rlim_cur = 1 << 20;
    high.rlim_max = high.rlim_max < high.rlim_cur ? high.rlim_cur : high.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &high) != 0) {
        fprintf(stderr, "\nskipped: %s:%d: the limit cannot be raised\n", __FILE__, __LINE__);
        return;
    }
    for (int n = 0; n < 16; n++) {
        int made = nonseqfd(ends[0], 0);
        CHECK(is_in((struct range){32768, 65536}, made));
        close(made);
    }
    CHECK(setrlimit(RLIMIT_NOFILE, &before) == 0);
}

int main(void)
{
    CHECK(pipe(ends) == 0);
    attach();
    numbers();
    unpredictable();
    duplicates();
    close_on_exec();
    closing_the_old_one();
    unknown_flags();
    bad_descriptors();
    errno_is_kept();
    low_limits();
    the_last_number();
    high_limits();
    EQUAL(syslet_detach(), 0);
    return 0;
}
