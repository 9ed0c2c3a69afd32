#!/usr/bin/env python3
"""netlab: several hosts on one machine, joined by a bad network of your choosing.

Each host is a network namespace with one TUN device; this process is the wire between them. It forwards IPv4
packets with delay, jitter, random and bursty loss, a rate limit with a finite queue, and, per host, a NAT. The
random numbers are seeded, so a run can be repeated. It needs root and /dev/net/tun, and no kernel traffic shaper.

    netlab.py run LAB.json -- COMMAND...     build the lab, run COMMAND in this namespace, tear the lab down;
                                             COMMAND enters a host with `ip netns exec ${NETLAB_PREFIX}NAME ...`;
                                             several labs may run side by side
    netlab.py set SOCKET HOST KEY=VALUE...   change a running lab ($NETLAB_SOCKET names its control socket)

LAB.json:
    {"seed": 1,
     "hosts": {"alice": {"nat": "symmetric", "up": {"delay": 40, "jitter": 10, "loss": 0.02}, "down": {"rate": 500}},
               "bob":   {},
               "server": {}}}

Host keys
    nat    none (default: a public address) | cone (endpoint-independent mapping and filtering)
           | restricted (endpoint-independent mapping, address-and-port-dependent filtering)
           | symmetric (address-and-port-dependent mapping and filtering)
    udp    false drops every UDP packet of this host (a firewall that lets only TCP out)
    tcp    false drops every TCP packet of this host (its connections are half-open from then on)
    link   false cuts the host off
    up, down   the direction out of and into the host:
           delay ms, jitter ms (uniform, +-), loss 0..1, burst (mean length of a loss burst in packets, 1 = random),
           rate kbit/s (0 = no limit), queue ms (what the rate limit may queue before it drops, 200), dup 0..1
The n-th host (from 1) has the public address 198.18.0.n; behind a NAT it sees itself as 192.168.n.2.
`set` takes the same keys, e.g.  set $NETLAB_SOCKET alice link=false   or   up.loss=0.3 down.delay=80
   and  rebind=true  drops the NAT's mappings and moves the host to a new public address (a change of network).
"""
import ctypes, fcntl, heapq, ipaddress, json, os, random, select, socket, struct, subprocess, sys, tempfile, time

# What the namespaces of this lab are called begins with this: another lab may run at the same time.
PREFIX = f"nl{os.getpid()}-"
TUNSETIFF, IFF_TUN, IFF_NO_PI, CLONE_NEWNET = 0x400454CA, 0x0001, 0x1000, 0x40000000
libc = ctypes.CDLL(None, use_errno=True)


def sh(*args):
    subprocess.run(args, check=True, stdout=subprocess.DEVNULL)


def tun_in(namespace):
    """A TUN device nl0 made inside a namespace; its file descriptor works from here."""
    home = os.open("/proc/self/ns/net", os.O_RDONLY)
    there = os.open(f"/run/netns/{namespace}", os.O_RDONLY)
    try:
        if libc.setns(there, CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "setns")
        fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", b"nl0", IFF_TUN | IFF_NO_PI))
        return fd
    finally:
        libc.setns(home, CLONE_NEWNET)
        os.close(home), os.close(there)


def checksum_fix(old_sum, old, new):
    """RFC 1624: the checksum after the words in `old` became those in `new`."""
    total = ~old_sum & 0xFFFF
    for (a,), (b,) in zip(struct.iter_unpack("!H", old), struct.iter_unpack("!H", new)):
        total += (~a & 0xFFFF) + b
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def rewrite(packet, source=None, target=None):
    """The packet with its source and/or destination (address bytes, port) replaced, checksums kept right."""
    p, header, proto = bytearray(packet), (packet[0] & 15) * 4, packet[9]
    sum_at = header + (6 if proto == 17 else 16)
    for end, at, port_at in ((source, 12, header), (target, 16, header + 2)):
        if end is None:
            continue
        old, new = bytes(p[at:at + 4]), end[0]
        old_port, new_port = bytes(p[port_at:port_at + 2]), struct.pack("!H", end[1])
        p[10:12] = struct.pack("!H", checksum_fix(struct.unpack_from("!H", p, 10)[0], old, new))
        l4 = struct.unpack_from("!H", p, sum_at)[0]
        if not (proto == 17 and l4 == 0):
            p[sum_at:sum_at + 2] = struct.pack("!H", checksum_fix(l4, old + old_port, new + new_port))
        p[at:at + 4], p[port_at:port_at + 2] = new, new_port
    return bytes(p)


class Pipe:
    """One direction of a host's link."""

    def __init__(self, spec, rng):
        self.delay = self.jitter = self.loss = self.rate = self.dup = 0.0
        self.burst, self.queue = 1.0, 200.0
        self.free_at, self.in_burst, self.rng = 0.0, False, rng
        self.sent = self.dropped = 0
        self.update(spec)

    def update(self, spec):
        for key, value in spec.items():
            if key not in ("delay", "jitter", "loss", "rate", "dup", "burst", "queue"):
                raise KeyError(f"no such link key: {key}")
            setattr(self, key, float(value))

    def lost(self):
        if self.loss <= 0:
            return False
        if self.burst <= 1:
            return self.rng.random() < self.loss
        leave = 1 / self.burst
        enter = min(1.0, leave * self.loss / max(1e-9, 1 - self.loss))
        self.in_burst = self.rng.random() >= leave if self.in_burst else self.rng.random() < enter
        return self.in_burst

    def departures(self, size, now):
        """When each copy of a packet of `size` bytes that enters now comes out; none if it is dropped."""
        if self.lost():
            self.dropped += 1
            return []
        at = now
        if self.rate > 0:
            start = max(now, self.free_at)
            if start - now > self.queue / 1000:
                self.dropped += 1
                return []
            at = self.free_at = start + size * 8 / (self.rate * 1000)
        self.sent += 1
        copies = 2 if self.dup and self.rng.random() < self.dup else 1
        return [at + max(0.0, self.delay + self.rng.uniform(-self.jitter, self.jitter)) / 1000 for _ in range(copies)]


class Host:
    def __init__(self, name, number, spec, rng):
        self.name, self.number, self.namespace = name, number, f"{PREFIX}{name}"
        self.nat, self.link = spec.get("nat", "none"), spec.get("link", True)
        self.udp, self.tcp = spec.get("udp", True), spec.get("tcp", True)
        if self.nat not in ("none", "cone", "restricted", "symmetric"):
            raise KeyError(f"no such nat: {self.nat}")
        self.up, self.down = Pipe(spec.get("up", {}), rng), Pipe(spec.get("down", {}), rng)
        self.move(0)
        self.inner = self.public if self.nat == "none" else ipaddress.ip_address(f"192.168.{number}.2").packed
        subprocess.run(["ip", "netns", "del", self.namespace], stderr=subprocess.DEVNULL)
        sh("ip", "netns", "add", self.namespace)
        self.fd = tun_in(self.namespace)
        address = str(ipaddress.ip_address(self.inner))
        for args in (["link", "set", "lo", "up"], ["addr", "add", f"{address}/32", "dev", "nl0"],
                     ["link", "set", "nl0", "up", "mtu", "1400"], ["route", "add", "default", "dev", "nl0"]):
            sh("ip", "-n", self.namespace, *args)

    def stops(self, protocol):
        """Whether no packet of this protocol passes this host's link now."""
        return not self.link or (protocol == 17 and not self.udp) or (protocol == 6 and not self.tcp)

    def move(self, generation):
        self.generation = generation
        self.public = ipaddress.ip_address(f"198.18.{generation}.{self.number}").packed
        self.mapped, self.back, self.next_port = {}, {}, 20000

    def out(self, packet):
        """The packet as the public network sees it, or None."""
        if self.nat == "none":
            # Nobody carries what comes from an address that the host no longer has.
            return packet if packet[12:16] == self.public else None
        if packet[9] not in (6, 17):
            return None
        header = (packet[0] & 15) * 4
        source, target = struct.unpack_from("!HH", packet, header)
        remote = (bytes(packet[16:20]), target)
        key = (packet[9], source, remote if self.nat == "symmetric" else None)
        if key not in self.mapped:
            self.mapped[key] = self.next_port
            self.back[(packet[9], self.next_port)] = (source, set())
            self.next_port += 1
        port = self.mapped[key]
        self.back[(packet[9], port)][1].add(remote)
        return rewrite(packet, source=(self.public, port))

    def inward(self, packet):
        """The packet as the host behind this NAT sees it, or None."""
        if self.nat == "none":
            return packet
        if packet[9] not in (6, 17):
            return None
        source, target = struct.unpack_from("!HH", packet, (packet[0] & 15) * 4)
        entry = self.back.get((packet[9], target))
        if entry is None:
            return None
        inner_port, allowed = entry
        if self.nat != "cone" and (bytes(packet[12:16]), source) not in allowed:
            return None
        return rewrite(packet, target=(self.inner, inner_port))


class Lab:
    def __init__(self, spec):
        rng = random.Random(spec.get("seed", 1))
        self.hosts = {name: Host(name, i, s, random.Random(rng.random())) for i, (name, s) in
                      enumerate(spec["hosts"].items(), 1)}
        self.by_fd = {h.fd: h for h in self.hosts.values()}
        self.pending, self.order = [], 0
        self.control = os.path.join(tempfile.mkdtemp(prefix="netlab-"), "control")
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.listener.bind(self.control)
        self.listener.setblocking(False)

    def push(self, at, action, packet, host):
        self.order += 1
        heapq.heappush(self.pending, (at, self.order, action, packet, host))

    def enter(self, host, packet, now):
        if packet[0] >> 4 != 4 or host.stops(packet[9]):
            return
        packet = host.out(packet)
        if packet:
            for at in host.up.departures(len(packet), now):
                self.push(at, "route", packet, None)

    def route(self, packet, now):
        host = next((h for h in self.hosts.values() if h.public == packet[16:20]), None)
        if host is None or host.stops(packet[9]):
            return
        packet = host.inward(packet)
        if packet:
            for at in host.down.departures(len(packet), now):
                self.push(at, "leave", packet, host)

    def obey(self, line):
        name, *pairs = line.split()
        host = self.hosts[name]
        for pair in pairs:
            key, value = pair.split("=", 1)
            value = {"true": True, "false": False}.get(value, value)
            if key in ("link", "udp", "tcp"):
                setattr(host, key, value)
            elif key == "nat":
                host.nat = value
            elif key == "rebind":
                host.move(host.generation + 1)
                if host.nat == "none":
                    address = str(ipaddress.ip_address(host.public))
                    sh("ip", "-n", host.namespace, "addr", "flush", "dev", "nl0")
                    sh("ip", "-n", host.namespace, "addr", "add", f"{address}/32", "dev", "nl0")
                    sh("ip", "-n", host.namespace, "route", "add", "default", "dev", "nl0")
                    host.inner = host.public
            else:
                side, what = key.split(".")
                {"up": host.up, "down": host.down}[side].update({what: value})

    def run(self, done):
        while not done():
            now = time.monotonic()
            while self.pending and self.pending[0][0] <= now:
                _, _, action, packet, host = heapq.heappop(self.pending)
                if action == "route":
                    self.route(packet, now)
                elif host.link:
                    try:
                        os.write(host.fd, packet)
                    except OSError:
                        pass
            wait = min(0.05, max(0.0, self.pending[0][0] - now)) if self.pending else 0.05
            ready, _, _ = select.select([*self.by_fd, self.listener], [], [], wait)
            for fd in ready:
                if fd is self.listener:
                    line = self.listener.recv(4096).decode()
                    try:
                        self.obey(line)
                    except Exception as error:  # a bad command must not stop the network
                        print(f"netlab: {line!r}: {error}", file=sys.stderr)
                    continue
                host = self.by_fd[fd]
                for _ in range(64):
                    try:
                        packet = os.read(fd, 2048)
                    except BlockingIOError:
                        break
                    self.enter(host, packet, time.monotonic())

    def close(self):
        for h in self.hosts.values():
            subprocess.run(["ip", "netns", "del", h.namespace], stderr=subprocess.DEVNULL)


def main(argv):
    if len(argv) >= 4 and argv[0] == "set":
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(" ".join(argv[2:]).encode(), argv[1])
        return 0
    if len(argv) < 4 or argv[0] != "run" or argv[2] != "--":
        print(__doc__, file=sys.stderr)
        return 2
    lab = Lab(json.load(open(argv[1])))
    try:
        env = dict(os.environ, NETLAB_SOCKET=lab.control, NETLAB_PREFIX=PREFIX)
        for h in lab.hosts.values():
            env[f"NETLAB_IP_{h.name.upper()}"] = str(ipaddress.ip_address(h.public))
        child = subprocess.Popen(argv[3:], env=env)
        lab.run(lambda: child.poll() is not None)
        if os.environ.get("NETLAB_VERBOSE"):
            for h in lab.hosts.values():
                print(f"netlab: {h.name}: up {h.up.sent} sent {h.up.dropped} dropped, "
                      f"down {h.down.sent} sent {h.down.dropped} dropped", file=sys.stderr)
        return child.returncode
    finally:
        lab.close()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
