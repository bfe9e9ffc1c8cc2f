// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A kernel without CONFIG_INET_DIAG_DESTROY, as OpenWrt's is, for the programs of a router: loaded
 * into each by /etc/ld.so.preload, it lets the kernel itself refuse SOCK_DESTROY.
 *
 * Without the option TCP has no destroy handler, and net/ipv4/inet_diag.c answers with NLMSG_ERROR
 * -EOPNOTSUPP. MPTCP has none on any kernel (net/mptcp/mptcp_diag.c, read in 6.18), so the request
 * is sent for a socket of that protocol: the same lines of the kernel give the same answer. All
 * else is passed on as it is, at the cost of comparing one word.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif

struct request {
	struct nlmsghdr header;
	struct inet_diag_req_v2 wanted;
	struct nlattr attribute;
	__u32 protocol;
};

static int is_sock_diag(int fd)
{
	int domain = 0, protocol = 0;
	socklen_t size = sizeof(int);

	return !getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) && domain == AF_NETLINK &&
	       !getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &size) &&
	       protocol == NETLINK_SOCK_DIAG;
}

/* Whether `data` asks to destroy a socket; then `other` is what to send instead. */
static int asks(int fd, const void *data, size_t size, struct request *other)
{
	const struct nlmsghdr *header = data;
	int before = errno;

	if (size < sizeof(*header) + sizeof(other->wanted) || header->nlmsg_type != SOCK_DESTROY)
		return 0;
	if (!is_sock_diag(fd)) {
		errno = before;
		return 0;
	}
	memcpy(other, data, sizeof(*header) + sizeof(other->wanted));
	other->header.nlmsg_len = sizeof(*other);
	other->attribute.nla_len = sizeof(other->attribute) + sizeof(other->protocol);
	other->attribute.nla_type = INET_DIAG_REQ_PROTOCOL;
	other->protocol = IPPROTO_MPTCP;
	return 1;
}

ssize_t sendto(int fd, const void *data, size_t size, int flags, const struct sockaddr *to,
	       socklen_t length)
{
	struct request other;

	if (!asks(fd, data, size, &other))
		return syscall(SYS_sendto, fd, data, size, flags, to, length);
	return syscall(SYS_sendto, fd, &other, sizeof(other), flags, to, length) < 0 ? -1
										     : (ssize_t)size;
}

ssize_t send(int fd, const void *data, size_t size, int flags)
{
	return sendto(fd, data, size, flags, NULL, 0);
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
	struct request other;
	struct iovec instead = { &other, sizeof(other) };
	struct msghdr copy = *message;
	char first[sizeof(other)];
	size_t size = 0, some;

	for (size_t i = 0; i < message->msg_iovlen && size < sizeof(first); i++) {
		some = message->msg_iov[i].iov_len;
		if (some > sizeof(first) - size)
			some = sizeof(first) - size;
		if (!i && some >= sizeof(struct nlmsghdr) &&
		    ((struct nlmsghdr *)message->msg_iov[0].iov_base)->nlmsg_type != SOCK_DESTROY)
			break; /* nearly always */
		memcpy(first + size, message->msg_iov[i].iov_base, some);
		size += some;
	}
	if (!asks(fd, first, size, &other))
		return syscall(SYS_sendmsg, fd, message, flags);
	copy.msg_iov = &instead;
	copy.msg_iovlen = 1;
	return syscall(SYS_sendmsg, fd, &copy, flags) < 0 ? -1 : (ssize_t)size;
}
