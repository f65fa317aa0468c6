/* rdma_port.c: which device, port and GID carry a connection: those whose GID
 * is the address that the connection's own socket has here. So whatever route
 * the operating system chose for the host that was named, its network card is
 * used. On the loopback address any active port will do, since both ends are
 * here. REMORA_RDMA_DEVICE=NAME[:PORT[:GID]] decides otherwise. Cold. Must not
 * know: queue pairs. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "rdma.h"

typedef struct wish {
  bool any;      /* any active port */
  ibv_gid gid;   /* else the one with this GID */
  char name[64]; /* of a device; empty: all */
  int port, index;
} wish;

/* The socket's own address as a GID: IPv4 in its mapped form. false: neither
 * IPv4 nor IPv6. */
static bool own_address(int fd, ibv_gid *gid, char *text, size_t room) {
  struct sockaddr_storage own;
  socklen_t bytes = sizeof own;
  if (getsockname(fd, (struct sockaddr *)&own, &bytes)) return false;
  if (own.ss_family == AF_INET) {
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    memcpy(gid->raw, mapped, sizeof mapped);
    memcpy(gid->raw + 12, &((struct sockaddr_in *)&own)->sin_addr, 4);
    inet_ntop(AF_INET, gid->raw + 12, text, (socklen_t)room);
    return true;
  }
  if (own.ss_family != AF_INET6) return false;
  memcpy(gid->raw, &((struct sockaddr_in6 *)&own)->sin6_addr, 16);
  inet_ntop(AF_INET6, gid->raw, text, (socklen_t)room);
  return true;
}

static bool is_loopback(const ibv_gid *gid) {
  static const uint8_t v6[16] = {[15] = 1}, v4[13] = {[10] = 0xff, [11] = 0xff, [12] = 127};
  return !memcmp(gid->raw, v6, sizeof v6) || !memcmp(gid->raw, v4, sizeof v4);
}

static void take_setting(wish *w) {
  const char *setting = getenv("REMORA_RDMA_DEVICE");
  if (!setting || !*setting) return;
  w->any = true;
  sscanf(setting, "%63[^:]:%d:%d", w->name, &w->port, &w->index);
}

/* RoCE v2 goes over routers; the same address has a GID for v1 too on some
 * devices. */
static bool is_v1(const char *device, int port, int index) {
  char path[160], type[16] = "";
  snprintf(path, sizeof path, "/sys/class/infiniband/%s/ports/%d/gid_attrs/types/%d", device, port,
           index);
  FILE *file = fopen(path, "re");
  if (!file) return false;
  size_t n = fread(type, 1, sizeof type - 1, file);
  fclose(file);
  return n >= 7 && (!memcmp(type, "IB/RoCE", 7)) && !strstr(type, "v2");
}

static bool is_null(const ibv_gid *gid) {
  static const ibv_gid null;
  return !memcmp(gid, &null, sizeof null);
}

static bool suits(const wish *w, const ibv_gid *gid, int index) {
  if (w->index >= 0) return index == w->index;
  return w->any ? !is_null(gid) : !memcmp(gid, &w->gid, sizeof *gid);
}

/* Among those that suit, the last that is not v1: link-local ones come first.
 */
static bool find_gid(rm_rdma *r, const wish *w, const char *device, uint8_t port,
                     const struct ibv_port_attr *attr) {
  bool found = false, better = false;
  for (int i = 0; i < attr->gid_tbl_len && i < 256; i++) {
    ibv_gid gid;
    if (r->verbs->query_gid(r->context, port, i, &gid) || !suits(w, &gid, i)) continue;
    bool good = attr->lid || !is_v1(device, port, i);
    if (found && better && !good) continue;
    found = true;
    better = good;
    r->gid_index = (uint8_t)i;
    memcpy(r->mine.gid, gid.raw, 16);
  }
  return found;
}

static bool try_port(rm_rdma *r, const wish *w, const char *device, uint8_t port) {
  struct ibv_port_attr attr;
  memset(&attr, 0, sizeof attr);
  if (r->verbs->query_port(r->context, port, &attr) || attr.state != IBV_PORT_ACTIVE) return false;
  if (!find_gid(r, w, device, port, &attr)) return false;
  r->port = r->mine.port = port;
  r->mine.lid = attr.lid;
  r->mine.mtu = (uint8_t)attr.active_mtu;
  return true;
}

static bool try_device(rm_rdma *r, const wish *w, struct ibv_device *device) {
  const char *name = r->verbs->get_device_name(device);
  struct ibv_device_attr attr;
  if (*w->name && strcmp(w->name, name) != 0) return false;
  if (!(r->context = r->verbs->open_device(device))) return false;
  bool found = false;
  if (!r->verbs->query_device(r->context, &attr)) {
    int most = attr.max_qp_rd_atom < attr.max_qp_init_rd_atom ? attr.max_qp_rd_atom
                                                              : attr.max_qp_init_rd_atom;
    r->mine.reads = most < (int)RM_RDMA_READS ? (uint32_t)most : RM_RDMA_READS;
    for (int port = 1; port <= attr.phys_port_cnt && !found; port++)
      found = (!w->port || w->port == port) && try_port(r, w, name, (uint8_t)port);
  }
  if (found) return true;
  r->verbs->close_device(r->context);
  r->context = NULL;
  return false;
}

bool rm_rdma_find_port(rm_rdma *r, rm_carrying *c) {
  wish w = {.index = -1};
  char address[64] = "?";
  int count = 0;
  if (!own_address(c->fd, &w.gid, address, sizeof address))
    return rm_carrying_failed(c, "the connection has no IP address");
  w.any = is_loopback(&w.gid);
  take_setting(&w);
  struct ibv_device **devices = r->verbs->get_device_list(&count);
  if (!devices || !count) {
    if (devices) r->verbs->free_device_list(devices);
    return rm_carrying_failed(c, "no RDMA device is here");
  }
  bool found = false;
  for (int i = 0; i < count && !found; i++) found = try_device(r, &w, devices[i]);
  if (found) {
    snprintf(c->why, sizeof c->why, "%s port %u, GID %u",
             r->verbs->get_device_name(r->context->device), r->port, r->gid_index);
  }
  r->verbs->free_device_list(devices);
  if (found) return true;
  if (*w.name) return rm_carrying_failed(c, "REMORA_RDMA_DEVICE: no active port is %s", w.name);
  return rm_carrying_failed(c, "no active port of %d RDMA device%s has the address %s", count,
                            count == 1 ? "" : "s", address);
}
