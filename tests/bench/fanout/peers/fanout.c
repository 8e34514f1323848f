// The limit: one frame, ready before, to every socket with send() in a loop, and nothing else.
//
// limit PORT MEMBERS PAYLOAD_BYTES. "EVENTS ...\n" on standard input: send so many; answered by when it began.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define BACKLOG 4096
#define SEND_BUFFER_BYTES 131072  // as the server's own sockets have
#define HEAD_BYTES 4

// To the one key that the members' handshakes carry (RFC 6455 section 1.3).
static const char welcome[] =
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

static void fail(const char *what) {
  perror(what);
  exit(1);
}

static int listen_on(int port) {
  struct sockaddr_in where = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  int listener = socket(AF_INET, SOCK_STREAM, 0), yes = 1;
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  if (bind(listener, (struct sockaddr *)&where, sizeof where) || listen(listener, BACKLOG)) fail("listen");
  return listener;
}

static int welcome_one(int listener) {
  char request[2048];
  int length = 0, yes = 1, bytes = SEND_BUFFER_BYTES;
  int member = accept(listener, NULL, NULL);
  if (member < 0) fail("accept");
  while (length < 4 || memcmp(request + length - 4, "\r\n\r\n", 4)) {
    int got = recv(member, request + length, sizeof request - length, 0);
    if (got <= 0) fail("handshake");
    length += got;
  }
  setsockopt(member, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
  setsockopt(member, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
  if (send(member, welcome, sizeof welcome - 1, MSG_NOSIGNAL) != sizeof welcome - 1) fail("handshake");
  if (fcntl(member, F_SETFL, O_NONBLOCK)) fail("fcntl");
  return member;
}

static void send_rest(int member, const char *frame, int length) {
  while (length > 0) {
    int sent = send(member, frame, length, MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN) fail("send");
    if (sent < 0) {
      struct pollfd writable = {.fd = member, .events = POLLOUT};
      poll(&writable, 1, -1);
      continue;
    }
    frame += sent;
    length -= sent;
  }
}

static void broadcast(const int *members, int count, const char *frame, int length) {
  for (int i = 0; i < count; i++) {
    int sent = send(members[i], frame, length, MSG_NOSIGNAL);
    if (sent != length) send_rest(members[i], frame + (sent > 0 ? sent : 0), length - (sent > 0 ? sent : 0));
  }
}

int main(int arguments, char **values) {
  if (arguments != 4) return 2;
  int listener = listen_on(atoi(values[1])), count = atoi(values[2]), payload = atoi(values[3]);
  int *members = calloc(count, sizeof *members);
  char frame[HEAD_BYTES + 65535] = {(char)0x81, 126, (char)(payload >> 8), (char)payload};
  memset(frame + HEAD_BYTES, 'x', payload);
  printf("LISTENING\n");
  fflush(stdout);
  for (int i = 0; i < count; i++) members[i] = welcome_one(listener);
  char order[64];
  while (fgets(order, sizeof order, stdin)) {
    struct timespec began;
    clock_gettime(CLOCK_MONOTONIC, &began);
    printf("BEGAN %ld.%09ld\n", (long)began.tv_sec, began.tv_nsec);
    fflush(stdout);
    for (long left = atol(order); left > 0; left--) broadcast(members, count, frame, HEAD_BYTES + payload);
  }
  return 0;
}
