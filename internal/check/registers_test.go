package check

import (
	"fmt"
	"reflect"
	"testing"
	"time"
)

// at makes an access of one register at a time.
func at(call, ret int64, a Access) Access {
	a.Key, a.Call, a.Return = "r", call, ret
	return a
}

// A history of a register is good if it has an order; every way in which it cannot
// have one is found, and named for what it is.
func TestRegisters(t *testing.T) {
	for name, c := range map[string]struct {
		ops  []Access
		want RegisterVerdict
	}{
		"good: one after the other": {ops: []Access{
			at(1, 2, Access{Verb: Get, Outcome: Done}),
			at(3, 4, Access{Verb: Put, Value: "a", Outcome: Done}),
			at(5, 6, Access{Verb: Get, Got: "a", Outcome: Done}),
			at(7, 8, Access{Verb: Swap, Expect: "a", Value: "b", Got: "a", Outcome: Done}),
			at(9, 10, Access{Verb: Swap, Expect: "a", Value: "c", Got: "b", Outcome: Done}),
			at(11, 12, Access{Verb: Put, Outcome: Done}),
			at(13, 14, Access{Verb: Get, Outcome: Done}),
		}},
		"good: a write without an answer that took effect late, and one that never did": {ops: []Access{
			at(1, 2, Access{Verb: Put, Value: "a", Outcome: Done}),
			at(3, 4, Access{Verb: Put, Value: "b", Outcome: Unknown}),
			at(3, 4, Access{Verb: Put, Value: "c", Outcome: Unknown}),
			at(5, 6, Access{Verb: Get, Got: "a", Outcome: Done}),
			at(7, 8, Access{Verb: Get, Got: "b", Outcome: Done}),
		}},
		"good: a swap without an answer that another one built upon": {ops: []Access{
			at(1, 2, Access{Verb: Put, Value: "a", Outcome: Done}),
			at(3, 4, Access{Verb: Swap, Expect: "a", Value: "b", Outcome: Unknown}),
			at(5, 6, Access{Verb: Swap, Expect: "b", Value: "c", Outcome: Unknown}),
			at(7, 8, Access{Verb: Get, Got: "c", Outcome: Done}),
		}},
		"good: an old value for who asked for one": {ops: []Access{
			at(1, 2, Access{Verb: Put, Value: "a", Outcome: Done}),
			at(3, 4, Access{Verb: Put, Value: "b", Outcome: Done}),
			at(5, 6, Access{Verb: Peek, Got: "a", Outcome: Done}),
			at(5, 6, Access{Verb: Peek, Outcome: Done}),
		}},
		"good: overlapping, and removed meanwhile": {ops: []Access{
			at(1, 9, Access{Verb: Put, Value: "a", Outcome: Done}),
			at(2, 8, Access{Verb: Put, Outcome: Unknown}),
			at(3, 4, Access{Verb: Get, Got: "a", Outcome: Done}),
			at(10, 11, Access{Verb: Get, Outcome: Done}),
		}},
		"an acknowledged write is lost": {ops: []Access{
			at(1, 2, Access{Verb: Put, Value: "a", Outcome: Done}),
			at(3, 4, Access{Verb: Get, Outcome: Done}),
		}, want: RegisterVerdict{Lost: 1}},
		"an overwritten value is read": {ops: []Access{
			at(1, 2, Access{Verb: Put, Value: "a", Outcome: Done}),
			at(3, 4, Access{Verb: Swap, Expect: "a", Got: "a", Value: "b", Outcome: Done}),
			at(5, 6, Access{Verb: Get, Got: "a", Outcome: Done}),
		}, want: RegisterVerdict{Stale: 1}},
		"a removed value is read": {ops: []Access{
			at(1, 2, Access{Verb: Put, Value: "a", Outcome: Done}),
			at(3, 4, Access{Verb: Put, Outcome: Done}),
			at(5, 6, Access{Verb: Get, Got: "a", Outcome: Done}),
		}, want: RegisterVerdict{Stale: 1}},
		"a refused value is read": {ops: []Access{
			at(1, 2, Access{Verb: Put, Value: "a", Outcome: Refused}),
			at(3, 4, Access{Verb: Get, Got: "a", Outcome: Done}),
		}, want: RegisterVerdict{Phantom: 1}},
		"a value is read before it is written": {ops: []Access{
			at(1, 2, Access{Verb: Peek, Got: "a", Outcome: Done}),
			at(3, 4, Access{Verb: Put, Value: "a", Outcome: Done}),
		}, want: RegisterVerdict{Phantom: 1}},
		"two swaps of the same value": {ops: []Access{
			at(1, 2, Access{Verb: Put, Value: "a", Outcome: Done}),
			at(3, 6, Access{Verb: Swap, Expect: "a", Got: "a", Value: "b", Outcome: Done}),
			at(4, 5, Access{Verb: Swap, Expect: "a", Got: "a", Value: "c", Outcome: Done}),
		}, want: RegisterVerdict{Disorder: 1}},
		"a value without an answer comes back": {ops: []Access{
			at(1, 2, Access{Verb: Put, Value: "a", Outcome: Done}),
			at(3, 4, Access{Verb: Put, Value: "b", Outcome: Unknown}),
			at(5, 6, Access{Verb: Get, Got: "b", Outcome: Done}),
			at(7, 8, Access{Verb: Get, Got: "a", Outcome: Done}),
		}, want: RegisterVerdict{Disorder: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			for i := range c.ops {
				c.ops[i].Line = i + 1
			}
			got := Registers(c.ops, time.Minute)
			if got.OK() != (name[:4] == "good") || got.OK() != (len(got.Complaints) == 0) {
				t.Errorf("ok %v with complaints %q", got.OK(), got.Complaints)
			}
			got.Complaints, c.want.Keys = nil, 1
			if !reflect.DeepEqual(got, c.want) {
				t.Errorf("verdict %+v, want %+v", got, c.want)
			}
		})
	}
}

// A search that has no time is undecided: neither passed nor failed.
func TestRegistersWithoutTime(t *testing.T) {
	got := Registers([]Access{at(1, 2, Access{Verb: Put, Value: "a", Outcome: Done})}, 0)
	if got.Undecided != 1 || !got.OK() {
		t.Errorf("verdict %+v", got)
	}
}

// A long history of many registers, as a run leaves it, is judged in seconds.
func TestManyRegisters(t *testing.T) {
	var ops []Access
	for key := range 200 {
		last := ""
		for i := range int64(200) {
			a := Access{Line: len(ops) + 1, Key: fmt.Sprint("k", key), Call: 10 * i, Return: 10*i + 15, Outcome: Done}
			switch i % 4 {
			case 0:
				a.Verb, a.Value = Put, fmt.Sprint("v", key, "-", i)
				last = a.Value
			case 1, 2:
				a.Verb, a.Got = Get, last
			case 3:
				a.Verb, a.Value, a.Outcome = Put, fmt.Sprint("u", key, "-", i), Unknown
			}
			ops = append(ops, a)
		}
	}
	begun := time.Now()
	if got := Registers(ops, 10*time.Second); !got.OK() || got.Undecided > 0 {
		t.Errorf("verdict %+v", got)
	}
	t.Logf("%d accesses in %v", len(ops), time.Since(begun))
}
