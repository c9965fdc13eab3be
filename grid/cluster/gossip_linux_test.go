package cluster

import (
	"io"
	"log"
	"net/netip"
	"testing"
	"time"
)

// Connections leave from the address listened on. The test needs a second
// loopback address, which other systems have to be told to have.
func TestConnectionsLeaveFromTheBoundAddress(t *testing.T) {
	defer noGoroutinesLeft(t)
	quiet := log.New(io.Discard, "", 0)
	near, err := listenBound("127.0.0.2:0", "", quiet)
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
	if got := netip.MustParseAddrPort(accepted.RemoteAddr().String()).Addr().String(); got != "127.0.0.2" {
		t.Errorf("the connection came from %s", got)
	}
}
