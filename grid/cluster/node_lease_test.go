package cluster

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/spacegrid/spacegrid/grid/space"
)

// seeker is an Invoker that refuses when the entry of the call's key is not
// there, and when it is.
type seeker struct{ refuse error }

func (s seeker) Invoke(_ context.Context, call *Invocation, v View) ([]space.Op, error) {
	if _, code := v.Get(v.Definition(DefaultSpace).ID, call.Key); code == space.OK {
		return nil, errors.New("it is there")
	}
	return nil, s.refuse
}

// Whoever was told that an entry is gone because its lease has ended was told
// what the log says: no later leader, whose clock may stand earlier, shows the
// entry again.
func TestALeaseThatEndedForOneEndedForAll(t *testing.T) {
	gone := errors.New("it is gone")
	asks := map[string]func(*testing.T, *Router, space.ID, []byte) error{
		"read": func(t *testing.T, r *Router, id space.ID, key []byte) error {
			l := &Lookup{Get: Get{Space: id, Key: key}}
			r.Read(t.Context(), Linearizable, []*Lookup{l})
			return errors.Join(l.Err, l.Found.Code.Err())
		},
		"match": func(t *testing.T, r *Router, id space.ID, _ []byte) error {
			m, err := r.Match(t.Context(), Linearizable, Match{Space: id, Partitions: []space.PartitionID{0}, Limit: 10})
			if err == nil && len(m.Entries) == 0 {
				return space.ErrNotFound
			}
			return err
		},
		"refusal": func(t *testing.T, r *Router, _ space.ID, key []byte) error {
			_, err := r.Invoke(t.Context(), "unit", "seek", 0, key, nil)
			if refused := new(HandlerError); errors.As(err, &refused) && refused.Message == gone.Error() {
				return space.ErrNotFound
			}
			return err
		},
	}
	for name, ask := range asks {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := alone(t, NodeConfig{Partitions: 1, Handlers: seeker{gone}})
				r := n.Router()
				id := defaultSpace(t, r)
				kept := func(key []byte) bool {
					_, code := n.held(1).host.partition(0).Get(id, key)
					return code == space.OK
				}
				early := 0 // how often the question came before the leader's own round
				for i := range 40 {
					key := fmt.Append(nil, "k", i)
					one(t, r, string(key), space.Op{Code: space.OpWrite, Space: id, Key: key, Value: []byte("v"), Lease: 30 * time.Millisecond})
					time.Sleep(31 * time.Millisecond)
					if kept(key) {
						early++
					}
					if err := ask(t, r, id, key); !errors.Is(err, space.ErrNotFound) {
						t.Fatalf("after its lease: %v", err)
					}
					if kept(key) {
						t.Fatal("it was said to be gone and is still in the log's state")
					}
				}
				if early == 0 {
					t.Fatal("the leader's own round was always first: nothing was shown")
				}
			})
		})
	}
}
