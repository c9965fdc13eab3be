package lab_test

import (
	"net"
	"os"
	"testing"

	"github.com/spacegrid/spacegrid/internal/chaos/lab"
	"github.com/spacegrid/spacegrid/internal/chaos/lab/labtest"
)

func TestMain(m *testing.M) { labtest.Main(m) }

func TestExplore(t *testing.T) {
	l := labtest.Open(t, lab.Config{Members: 3, Doors: true})
	t.Log(l.Rights())
	if err := l.StartAll(); err != nil {
		t.Fatal(err)
	}
	if err := l.AwaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
	g, err := l.Dial(t.Context(), 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	t.Log(l.Leaders(t.Context()))
	_ = os.Stdout
	var _ net.Conn
}
