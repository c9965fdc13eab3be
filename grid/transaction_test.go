package grid_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/spacegrid/spacegrid/grid"
	"github.com/spacegrid/spacegrid/grid/space"
)

type purse struct {
	Owner string `grid:"owner,key"`
	Coins int    `grid:"coins"`
}

type bill struct {
	ID   string `grid:"id,key"`
	From string `grid:"from,index"`
}

func openBank(t *testing.T) (*grid.Grid, context.Context, *grid.Space[purse], *grid.Space[bill]) {
	t.Helper()
	g, ctx := open(t, grid.Config{Partitions: 8})
	purses, err := grid.OpenSpace[purse](ctx, g, "purses")
	if err != nil {
		t.Fatal(err)
	}
	bills, err := grid.OpenSpace[bill](ctx, g, "bills")
	if err != nil {
		t.Fatal(err)
	}
	return g, ctx, purses, bills
}

// TestTransactSeesItsOwnWrites and nobody else does before it is committed: then
// everybody does, in all spaces.
func TestTransactSeesItsOwnWrites(t *testing.T) {
	g, ctx, purses, bills := openBank(t)
	for _, p := range []purse{{"ann", 10}, {"bob", 0}} {
		if _, err := purses.Write(ctx, p); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := bills.Write(ctx, bill{"old", "ann"}); err != nil {
		t.Fatal(err)
	}
	err := g.Transact(ctx, func(tx *grid.Tx) error {
		p, b := purses.In(tx), bills.In(tx)
		ann, err := p.Read("ann")
		if err != nil {
			return err
		}
		ann.Coins -= 3
		if err := errors.Join(p.Write(ann), p.Write(purse{"bob", 3}), b.Write(bill{"new", "ann"})); err != nil {
			return err
		}
		if again, err := p.Read("ann"); err != nil || again.Coins != 7 {
			return fmt.Errorf("own write: %v, %w", again, err)
		}
		if bob, err := p.Read("bob"); err != nil || bob.Coins != 3 {
			return fmt.Errorf("own blind write: %v, %w", bob, err)
		}
		if both, err := b.Query(grid.Template{"from": "ann"}); err != nil || len(both) != 2 {
			return fmt.Errorf("own write among matches: %v, %w", both, err)
		}
		if old, err := b.Take("old"); err != nil || old.From != "ann" {
			return fmt.Errorf("take: %v, %w", old, err)
		}
		if _, err := b.Read("old"); !errors.Is(err, grid.ErrNotFound) {
			return fmt.Errorf("own take: %w", err)
		}
		if one, err := b.Query(grid.Template{"from": "ann"}); err != nil || len(one) != 1 || one[0].ID != "new" {
			return fmt.Errorf("own take among matches: %v, %w", one, err)
		}
		// Written and taken: nothing of it is left, whether or not it was there.
		if err := b.Write(bill{"short", "ann"}); err != nil {
			return err
		}
		if _, err := b.Take("short"); err != nil {
			return err
		}
		if _, err := bills.Read(ctx, "new"); !errors.Is(err, grid.ErrNotFound) {
			return fmt.Errorf("seen outside before the commit: %w", err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for owner, want := range map[string]int{"ann": 7, "bob": 3} {
		if p, err := purses.Read(ctx, owner); err != nil || p.Coins != want {
			t.Errorf("%s has %v, %v", owner, p, err)
		}
	}
	n := 0
	for b, err := range bills.Query(ctx, nil) {
		if n++; err != nil || b.ID != "new" {
			t.Errorf("bill %v, %v", b, err)
		}
	}
	if n != 1 {
		t.Errorf("%d bills", n)
	}
}

// TestTransactRunsAgain when what it read, found absent or searched for has
// changed before its commit.
func TestTransactRunsAgain(t *testing.T) {
	g, ctx, purses, bills := openBank(t)
	if _, err := purses.Write(ctx, purse{"ann", 1}); err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct {
		what   string
		look   func(tx *grid.Tx) error
		change func() error
	}{
		{"read", func(tx *grid.Tx) error {
			_, err := purses.In(tx).Read("ann")
			return err
		}, func() error {
			_, err := purses.Write(ctx, purse{"ann", 2})
			return err
		}},
		{"found absent", func(tx *grid.Tx) error {
			if _, err := purses.In(tx).Read("cid"); err != nil && !errors.Is(err, grid.ErrNotFound) {
				return err
			}
			return nil
		}, func() error {
			_, err := purses.Write(ctx, purse{"cid", 2})
			return err
		}},
		{"searched for", func(tx *grid.Tx) error {
			_, err := bills.In(tx).Query(grid.Template{"from": "ann"})
			return err
		}, func() error {
			_, err := bills.Write(ctx, bill{"b1", "ann"})
			return err
		}},
		{"searched for by a condition", func(tx *grid.Tx) error {
			_, err := purses.In(tx).Query(grid.Where("coins > ?", 90))
			return err
		}, func() error {
			_, err := purses.Write(ctx, purse{"rich", 91})
			return err
		}},
		{"found", func(tx *grid.Tx) error {
			_, err := bills.In(tx).Query(grid.Template{"from": "ann"})
			return err
		}, func() error {
			_, err := bills.Delete(ctx, "b1")
			return err
		}},
	} {
		for _, fails := range []bool{false, true} {
			runs := 0
			reason := errors.New("the application's")
			err := g.Transact(ctx, func(tx *grid.Tx) error {
				if err := x.look(tx); err != nil {
					return err
				}
				if runs++; runs == 1 && !fails {
					if err := x.change(); err != nil {
						return err
					}
				}
				if err := purses.In(tx).Write(purse{"log", runs}); err != nil || !fails {
					return err
				}
				return reason
			})
			if want := map[bool]int{false: 2, true: 1}[fails]; runs != want || fails != errors.Is(err, reason) {
				t.Errorf("%s has changed (failing: %v): %d runs, %v", x.what, fails, runs, err)
			}
			if log, err := purses.Read(ctx, "log"); err != nil || log.Coins != 2 {
				t.Errorf("%s has changed (failing: %v): the run left is %v, %v", x.what, fails, log, err)
			}
		}
	}
}

type parcel struct {
	ID    int    `grid:"id,key"`
	Buyer string `grid:"buyer,routing"`
}

// TestRoutedQueriesTouchOnePartition: those whose filter fixes the routing field
// find what they should, and do not depend on what is elsewhere.
func TestRoutedQueriesTouchOnePartition(t *testing.T) {
	g, ctx := open(t, grid.Config{Partitions: 8})
	parcels, err := grid.OpenSpace[parcel](ctx, g, "parcels")
	if err != nil {
		t.Fatal(err)
	}
	for i, buyer := range []string{"ann", "ann", "bob"} {
		if _, err := parcels.Write(ctx, parcel{i, buyer}); err != nil {
			t.Fatal(err)
		}
	}
	runs := 0
	err = g.Transact(ctx, func(tx *grid.Tx) error {
		found, err := parcels.In(tx).Query(grid.Where("id >= 0").And(grid.Template{"buyer": "ann"}))
		if err != nil || len(found) != 2 {
			return fmt.Errorf("found %v, %w", found, err)
		}
		if runs++; runs == 1 {
			// Would be in the way of a search of all partitions, not of this one.
			if _, err := parcels.Write(ctx, parcel{7, "bob"}); err != nil {
				return err
			}
		}
		return parcels.In(tx).Write(parcel{10 + len(found), "ann"})
	})
	if err != nil || runs != 1 {
		t.Fatalf("%d runs, %v", runs, err)
	}
	if o, err := parcels.Read(ctx, grid.RoutedKey{Routing: "ann", Key: 12}); err != nil || o.Buyer != "ann" {
		t.Fatal(o, err)
	}
}

// TestRefusalIsNotByMistake: an error of the function counts only if what it had
// read belongs together.
func TestRefusalIsNotByMistake(t *testing.T) {
	g, ctx, purses, _ := openBank(t)
	for _, p := range []purse{{"ann", 1}, {"bob", 1}} {
		if _, err := purses.Write(ctx, p); err != nil {
			t.Fatal(err)
		}
	}
	poor := errors.New("poor")
	runs := 0
	err := g.Transact(ctx, func(tx *grid.Tx) error {
		p := purses.In(tx)
		ann, err := p.Read("ann")
		if err != nil {
			return err
		}
		if runs++; runs == 1 { // a coin goes from bob to ann between the two reads
			if _, err := purses.Write(ctx, purse{"ann", 2}); err != nil {
				return err
			}
			if _, err := purses.Write(ctx, purse{"bob", 0}); err != nil {
				return err
			}
		}
		bob, err := p.Read("bob")
		if err != nil {
			return err
		}
		if ann.Coins+bob.Coins < 2 {
			return poor
		}
		return nil
	})
	if err != nil || runs != 2 {
		t.Fatalf("%d runs, %v", runs, err)
	}
}

// TestTransactionsDoNotSkew: two that read both purses and each take from one
// never take more than the two hold together; nor do many lose a coin.
func TestTransactionsDoNotSkew(t *testing.T) {
	g, ctx, purses, _ := openBank(t)
	names := []string{"ann", "bob", "cid", "dan"}
	for _, name := range names {
		if _, err := purses.Write(ctx, purse{name, 25}); err != nil {
			t.Fatal(err)
		}
	}
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := range 25 {
				from, to := names[(w+i)%4], names[(w+i*3+1)%4]
				err := g.Transact(ctx, func(tx *grid.Tx) error {
					p := purses.In(tx)
					total := 0
					for _, name := range names {
						x, err := p.Read(name)
						if err != nil {
							return err
						}
						total += x.Coins
					}
					if total != 100 {
						return nil // reads that never were together: not committed
					}
					a, err := p.Read(from)
					if err != nil || a.Coins == 0 || from == to {
						return err
					}
					b, err := p.Read(to)
					if err != nil {
						return err
					}
					a.Coins--
					b.Coins++
					return errors.Join(p.Write(a), p.Write(b))
				})
				if err != nil {
					t.Errorf("transfer: %v", err)
				}
			}
		})
	}
	wg.Wait()
	total := 0
	for _, name := range names {
		p, err := purses.Read(ctx, name)
		if err != nil {
			t.Fatal(err)
		}
		total += p.Coins
	}
	if total != 100 {
		t.Fatalf("100 coins are %d", total)
	}
}

// TestTransactEndsWithItsTime: one that always meets another says so when its
// context ends, and has no effect.
func TestTransactEndsWithItsTime(t *testing.T) {
	g, ctx, purses, _ := openBank(t)
	short, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
	defer cancel()
	n := 0
	err := g.Transact(short, func(tx *grid.Tx) error {
		p := purses.In(tx)
		if _, err := p.Read("ann"); err != nil && !errors.Is(err, grid.ErrNotFound) {
			return err
		}
		n++
		if _, err := purses.Write(ctx, purse{"ann", n}); err != nil {
			return err
		}
		return errors.Join(p.Write(purse{"ann", -1}), p.Write(purse{"bob", -1}))
	})
	if !errors.Is(err, grid.ErrConflict) {
		t.Fatalf("%d runs: %v", n, err)
	}
	if p, err := purses.Read(ctx, "ann"); err != nil || p.Coins != n {
		t.Fatal(p, err)
	}
	if _, err := purses.Read(ctx, "bob"); !errors.Is(err, grid.ErrNotFound) {
		t.Fatal("a transaction without an end had an effect")
	}
}

// TestTransactionsHaveBounds of keys and bytes, and refuse what cannot be.
func TestTransactionsHaveBounds(t *testing.T) {
	g, ctx, purses, _ := openBank(t)
	write := func(n int, size int) error {
		return g.Transact(ctx, func(tx *grid.Tx) error {
			for i := range n {
				if err := tx.Write(grid.DefaultSpace, grid.Entry{Key: fmt.Append(nil, "k", i), Value: make([]byte, size)}); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := write(grid.MaxTransactionKeys, 1); err != nil {
		t.Error(err)
	}
	if err := write(grid.MaxTransactionKeys+1, 1); !errors.Is(err, grid.ErrTooLarge) {
		t.Errorf("too many keys: %v", err)
	}
	if err := write(2, grid.MaxTransactionBytes/2); !errors.Is(err, grid.ErrTooLarge) {
		t.Errorf("too many bytes: %v", err)
	}
	err := g.Transact(ctx, func(tx *grid.Tx) error {
		_, err := tx.Read("nowhere", []byte("k"))
		return err
	})
	if !errors.Is(err, grid.ErrNoSpace) {
		t.Errorf("a space that is not there: %v", err)
	}
	err = g.Transact(ctx, func(tx *grid.Tx) error {
		_, err := purses.In(tx).Read("")
		return err
	})
	if !errors.Is(err, space.ErrInvalid) {
		t.Errorf("an empty key: %v", err)
	}
}

// ExampleGrid_Transact moves a coin from one purse to another, wherever the two
// lie.
func ExampleGrid_Transact() {
	ctx := context.Background()
	g, err := grid.Open(ctx, grid.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer g.Close()
	purses, err := grid.OpenSpace[purse](ctx, g, "purses")
	if err == nil {
		_, err = purses.Write(ctx, purse{"ann", 5})
	}
	if err == nil {
		_, err = purses.Write(ctx, purse{"bob", 0})
	}
	if err == nil {
		err = g.Transact(ctx, func(tx *grid.Tx) error {
			p := purses.In(tx)
			ann, err := p.Read("ann")
			if err != nil {
				return err
			}
			bob, err := p.Read("bob")
			if err != nil {
				return err
			}
			ann.Coins--
			bob.Coins++
			return errors.Join(p.Write(ann), p.Write(bob))
		})
	}
	bob, _ := purses.Read(ctx, "bob")
	fmt.Println(bob.Coins, err)
	// Output: 1 <nil>
}

// BenchmarkTransact moves a coin between two partitions of a grid of one member in
// memory, from eight goroutines with purses of their own.
func BenchmarkTransact(b *testing.B) {
	ctx := b.Context()
	g, err := grid.Open(ctx, grid.Config{Partitions: 16})
	if err != nil {
		b.Fatal(err)
	}
	defer g.Close()
	purses, err := grid.OpenSpace[purse](ctx, g, "purses")
	if err != nil {
		b.Fatal(err)
	}
	var next atomic.Int64
	b.SetParallelism(4)
	b.RunParallel(func(pb *testing.PB) {
		n := next.Add(1)
		from, to := fmt.Sprint("from", n), fmt.Sprint("to", n)
		if _, err := purses.Write(ctx, purse{from, 0}); err != nil {
			b.Error(err)
		}
		if _, err := purses.Write(ctx, purse{to, 0}); err != nil {
			b.Error(err)
		}
		for pb.Next() {
			err := g.Transact(ctx, func(tx *grid.Tx) error {
				p := purses.In(tx)
				x, err := p.Read(from)
				if err != nil {
					return err
				}
				y, err := p.Read(to)
				if err != nil {
					return err
				}
				x.Coins--
				y.Coins++
				return errors.Join(p.Write(x), p.Write(y))
			})
			if err != nil {
				b.Error(err)
			}
		}
	})
}
