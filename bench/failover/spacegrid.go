package failover

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/spacegrid/spacegrid/grid"
	"github.com/spacegrid/spacegrid/internal/chaos/lab"
)

// gridMembers is how many members a cluster has.
const gridMembers = 3

// Spacegrid is three member processes that acknowledge what a majority has on
// disk, or in memory.
type Spacegrid struct {
	lab        *lab.Lab
	net        Network
	durability string
	folder     string
	turn       int
	clients    int
}

// StartSpacegrid starts a cluster of program. durability is disk or memory.
func StartSpacegrid(ctx context.Context, program, folder, durability string, net Network) (*Spacegrid, error) {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return nil, fmt.Errorf("failover: %w", err)
	}
	l, err := lab.Open(ctx, lab.Config{
		Folder: folder, Binary: program, Members: gridMembers, DiskBytes: -1,
		Flags: []string{"--durability", durability, "--log-level", "warn"},
	})
	if err != nil {
		return nil, err
	}
	s := &Spacegrid{lab: l, net: net, durability: durability, folder: folder}
	if err := l.StartAll(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	if err := l.AwaitReady(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// Name implements Target.
func (s *Spacegrid) Name() string { return "spacegrid, " + s.durability }

// Missing implements Target.
func (s *Spacegrid) Missing(k Kind) string {
	if k == Cut && s.net == nil {
		return "there is no network to cut"
	}
	return ""
}

// Ready implements Target: every member is there, every group is led, and no vote is
// missing because of the injury before.
func (s *Spacegrid) Ready(ctx context.Context) error { return s.lab.Whole(ctx) }

// Writer implements Target.
func (s *Spacegrid) Writer(ctx context.Context, key string) (Writer, error) {
	g, err := s.lab.Dial(ctx, s.clients, -1)
	if err != nil {
		return nil, err
	}
	s.clients++
	w := &gridWriter{grid: g, key: key}
	if w.space, err = grid.OpenSpace[note](ctx, g, "gap"); err != nil {
		return nil, errors.Join(err, g.Close())
	}
	return w, nil
}

// note is what is written.
type note struct {
	Key   string `grid:"key,key"`
	Value []byte `grid:"value"`
}

type gridWriter struct {
	grid  *grid.Grid
	space *grid.Space[note]
	key   string
}

func (w *gridWriter) Write(ctx context.Context, value []byte) error {
	_, err := w.space.Write(ctx, note{Key: w.key, Value: value})
	return err
}

func (w *gridWriter) Close() error { return w.grid.Close() }

// Injure implements Target: the members that lead take turns, so that every injury
// is one of a leader, and some of the keys are led by it.
func (s *Spacegrid) Injure(ctx context.Context, k Kind, _ string) (func(context.Context) error, error) {
	led := s.lab.Leading(ctx)
	var leaders []*lab.Member
	for _, m := range s.lab.All() {
		if len(led[m.Name()]) > 0 {
			leaders = append(leaders, m)
		}
	}
	if len(leaders) == 0 {
		return nil, errors.New("failover: no member says that it leads")
	}
	victim := leaders[s.turn%len(leaders)]
	s.turn++
	switch k {
	case Kill:
		victim.Kill()
		return func(context.Context) error { return victim.Start() }, nil
	case Pause:
		return func(context.Context) error { return victim.Resume() }, victim.Pause(ctx)
	case Cut:
		var others []string
		for _, m := range s.lab.All() {
			others = append(others, m.IP())
		}
		return s.net.Cut(ctx, victim.IP(), slices.DeleteFunc(others, func(ip string) bool { return ip == victim.IP() }))
	}
	return nil, fmt.Errorf("failover: unknown injury %q", k)
}

// Close implements Target.
func (s *Spacegrid) Close() error { return errors.Join(s.lab.End(), os.RemoveAll(s.folder)) }
