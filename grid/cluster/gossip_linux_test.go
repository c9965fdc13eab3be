package cluster

import (
	"io"
	"log"
	"net/netip"
	"testing"
	"time"
)

// Connections leave from the address listened on, or from the source if there is
// one. The test needs a second
// loopback address, which other systems have to be told to have.
func TestConnectionsLeaveFromTheBoundAddress(t *testing.T) {
	defer noGoroutinesLeft(t)
	quiet := log.New(io.Discard, "", 0)
	for _, c := range []struct{ bind, source, want string }{
		{"127.0.0.2:0", "", "127.0.0.2"},
		{"127.0.0.2:0", "127.0.0.3", "127.0.0.3"},
		{"127.0.0.2:0", "127.0.0.4:0", "127.0.0.4"},
	} {
		leavesFrom(t, c.bind, c.source, c.want)
	}
	if _, err := listenBound("127.0.0.2:0", "somewhere", quiet); err == nil {
		t.Error("a source that is no address")
	}
}

func leavesFrom(t *testing.T, bind, source, want string) {
	quiet := log.New(io.Discard, "", 0)
	near, err := listenBound(bind, source, quiet)
	if err != nil {
		t.Fatal(err)
	}
	defer near.Shutdown()
	far, err := listenBound("127.0.0.1:0", "", quiet)
	if err != nil {
		t.Fatal(err)
	}
	defer far.Shutdown()
	conn, err := near.DialTimeout(netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(far.GetAutoBindPort())).String(), time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	accepted := <-far.StreamCh()
	defer accepted.Close()
	if got := netip.MustParseAddrPort(accepted.RemoteAddr().String()).Addr().String(); got != want {
		t.Errorf("bound to %s, source %q: the connection came from %s", bind, source, got)
	}
}
