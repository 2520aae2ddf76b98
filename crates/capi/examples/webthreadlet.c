/*
 * webthreadlet PORT FOLDER - a web server that reads like a server with one thread. A connection whose request is
 * there, and whose file is in the cache, is answered by the one thread; one that has to wait for anything goes on by
 * itself, and the server accepts the next.
 */
#define _GNU_SOURCE
#include "web.h"

#include <errno.h>

#include <syslet.h>
#include <syslet/threadlets.h>

static int folder;

/* Reads up to the empty line that ends a request. */
static int read_request(int socket, char *request)
{
    size_t have = 0;
    while (have < REQUEST - 1) {
        ssize_t got = read(socket, request + have, REQUEST - 1 - have);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return -1;
        have += (size_t)got;
        request[have] = 0;
        if (strstr(request, "\r\n\r\n"))
            return 0;
    }
    return -1;
}

static int send_all(int socket, const char *text, size_t size)
{
    while (size > 0) {
        ssize_t put = write(socket, text, size);
        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0)
            return -1;
        text += put;
        size -= (size_t)put;
    }
    return 0;
}

static long serve(void *data)
{
    int socket = (int)(long)data;
    char request[REQUEST], head[128];
    off_t length, done = 0;
    if (read_request(socket, request) == 0) {
        int file = open_for(folder, request, head, sizeof head, &length);
        int good = send_all(socket, head, strlen(head)) == 0;
        while (good && done < length) {
            ssize_t put = sendfile(socket, file, &done, (size_t)(length - done));
            good = put > 0 || (put < 0 && errno == EINTR);
        }
        if (file >= 0)
            close(file);
    }
    close(socket);
    return threadlet_complete();
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: webthreadlet PORT FOLDER\n");
        return 2;
    }
    folder = open(argv[2], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0) {
        perror(argv[2]);
        return 2;
    }
    int listener = listen_on(argv[1]);
    if (syslet_attach(NULL) < 0)
        return 2;
    for (;;) {
        int socket = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        if (socket < 0) {
            if (errno == EINTR || errno == ECONNABORTED || errno == EMFILE)
                continue;
            perror("accept");
            return 2;
        }
        if (threadlet_exec(serve, (void *)(long)socket, NULL) < 0)
            close(socket);
    }
}
