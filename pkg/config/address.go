package config

import (
	"net"
	"net/netip"
	"os"
	"strings"
)

// card is a network interface as far as finding the node's address goes.
type card struct {
	name         string
	up, loopback bool
	prefixes     []netip.Prefix
}

// DetectAddress finds the address of this machine that other Pis reach it by, "" where there is none: see [choose].
func DetectAddress() string {
	list, err := net.Interfaces()
	if err != nil {
		return ""
	}
	var cards []card
	for _, i := range list {
		c := card{name: i.Name, up: i.Flags&net.FlagUp != 0, loopback: i.Flags&net.FlagLoopback != 0}
		addrs, err := i.Addrs()
		if err != nil {
			continue // the interface went away meanwhile
		}
		for _, a := range addrs {
			if p, err := netip.ParsePrefix(a.String()); err == nil {
				c.prefixes = append(c.prefixes, p)
			}
		}
		cards = append(cards, c)
	}
	routes, err := os.ReadFile("/proc/net/route")
	if err != nil {
		routes = nil // no default route is known: the first interface has to do
	}
	return choose(cards, defaultCard(string(routes)))
}

// choose picks an address: of the interface with the default route before others, IPv4 before IPv6, the first before later
// ones. An address with the full prefix length is left out: that is a virtual one, which keepalived moves from Pi to Pi. So
// are the bridges and the ends of containers' cables that the Docker Engine makes.
func choose(cards []card, preferred string) string {
	var best netip.Addr
	score := 0
	for _, c := range cards {
		if !c.up || c.loopback || dockers(c.name) {
			continue
		}
		for _, p := range c.prefixes {
			a := p.Addr().Unmap()
			if !a.IsGlobalUnicast() || p.IsSingleIP() {
				continue
			}
			s := 1
			if a.Is4() {
				s += 1
			}
			if c.name == preferred {
				s += 2
			}
			if s > score {
				best, score = a, s
			}
		}
	}
	if score == 0 {
		return ""
	}
	return best.String()
}

// defaultCard is the interface of the IPv4 default route in the kernel's table, "" when there is none.
func defaultCard(routes string) string {
	for line := range strings.Lines(routes) {
		f := strings.Fields(line)
		if len(f) > 7 && f[1] == "00000000" && f[7] == "00000000" {
			return f[0]
		}
	}
	return ""
}

// dockers reports whether an interface is one the Docker Engine makes.
func dockers(name string) bool {
	for _, p := range []string{"br-", "docker", "veth", "vxlan"} {
		if strings.HasPrefix(name, p) {
			return true
		}
	}
	return false
}
