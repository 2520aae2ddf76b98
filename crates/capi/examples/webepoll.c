/* webepoll PORT FOLDER - the same server as webthreadlet, as a loop of epoll: a state for every connection. */
#define _GNU_SOURCE
#include "web.h"

#include <errno.h>
#include <sys/epoll.h>

struct connection {
    int socket, file;
    size_t have, head_size, head_sent;
    off_t length, done;
    char request[REQUEST], head[128];
};

static int folder, loop;

static void drop(struct connection *c)
{
    if (c->file >= 0)
        close(c->file);
    close(c->socket);
    free(c);
}

static int would_wait(void)
{
    return errno == EAGAIN || errno == EINTR;
}

static void wait_for(struct connection *c, uint32_t events)
{
    struct epoll_event event = {.events = events, .data = {.ptr = c}};
    epoll_ctl(loop, EPOLL_CTL_MOD, c->socket, &event);
}

/* Sends what there is room for; nonzero once it is over. */
static int send_some(struct connection *c)
{
    while (c->head_sent < c->head_size) {
        ssize_t put = write(c->socket, c->head + c->head_sent, c->head_size - c->head_sent);
        if (put < 0)
            return !would_wait();
        c->head_sent += (size_t)put;
    }
    while (c->done < c->length) {
        ssize_t put = sendfile(c->socket, c->file, &c->done, (size_t)(c->length - c->done));
        if (put <= 0)
            return put == 0 || !would_wait();
    }
    return 1;
}

/* Reads what is there; nonzero once there is nothing more to be done. */
static int receive_some(struct connection *c)
{
    for (;;) {
        ssize_t got = read(c->socket, c->request + c->have, REQUEST - 1 - c->have);
        if (got < 0)
            return !would_wait();
        if (got == 0)
            return 1;
        c->have += (size_t)got;
        c->request[c->have] = 0;
        if (strstr(c->request, "\r\n\r\n"))
            break;
        if (c->have == REQUEST - 1)
            return 1;
    }
    c->file = open_for(folder, c->request, c->head, sizeof c->head, &c->length);
    c->head_size = strlen(c->head);
    if (send_some(c))
        return 1;
    wait_for(c, EPOLLOUT);
    return 0;
}

static void accept_all(int listener)
{
    int socket;
    while ((socket = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0) {
        struct connection *c = calloc(1, sizeof *c);
        struct epoll_event event = {.events = EPOLLIN, .data = {.ptr = c}};
        if (!c || epoll_ctl(loop, EPOLL_CTL_ADD, socket, &event) < 0) {
            free(c);
            close(socket);
            continue;
        }
        c->socket = socket;
        c->file = -1;
        if (receive_some(c))
            drop(c);
    }
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: webepoll PORT FOLDER\n");
        return 2;
    }
    folder = open(argv[2], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0) {
        perror(argv[2]);
        return 2;
    }
    int listener = listen_on(argv[1]);
    fcntl(listener, F_SETFL, O_NONBLOCK);
    loop = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN, .data = {.ptr = NULL}}, events[64];
    if (loop < 0 || epoll_ctl(loop, EPOLL_CTL_ADD, listener, &event) < 0) {
        perror("epoll");
        return 2;
    }
    for (;;) {
        int count = epoll_wait(loop, events, 64, -1);
        for (int n = 0; n < count; n++) {
            struct connection *c = events[n].data.ptr;
            if (!c)
                accept_all(listener);
            else if (c->head_size ? send_some(c) : receive_some(c))
                drop(c);
        }
    }
}
