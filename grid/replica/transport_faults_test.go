package replica_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/spacegrid/spacegrid/internal/wire"
)

// Whatever happens to the links for a minute, everybody ends with the same
// commands, and none that was acknowledged is missing.
func TestFaultsLoseNothingAcknowledged(t *testing.T) {
	for seed := range uint64(6) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			simulate(t, func(t *testing.T) { underFaults(t, rand.New(rand.NewPCG(seed, 1))) })
		})
	}
}

func underFaults(t *testing.T, rng *rand.Rand) {
	n, hosts, instances := three(t)
	leaderOf(t, instances)
	var acknowledged []string
	for i := range 200 {
		if rng.IntN(3) == 0 {
			breakSomething(n, rng)
		}
		command := fmt.Sprintf("<%d>", i)
		for _, instance := range instances {
			if instance.raft.State() == raft.Leader && instance.raft.Apply([]byte(command), 100*time.Millisecond).Error() == nil {
				acknowledged = append(acknowledged, command)
				break
			}
		}
		time.Sleep(time.Duration(rng.IntN(600)) * time.Millisecond)
	}
	for _, a := range hosts {
		for _, b := range hosts {
			n.Heal(string(a.name), string(b.name))
			n.Delay(string(a.name), string(b.name), 0)
		}
	}
	leader := instances[leaderOf(t, instances)]
	apply(t, leader, "<end>")
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
		a, b, c := instances[0].fsm.String(), instances[1].fsm.String(), instances[2].fsm.String()
		if a == b && b == c && strings.HasSuffix(a, "<end>") {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("members differ:\n%s\n%s\n%s", a, b, c)
		}
	}
	rest := leader.fsm.String()
	for _, command := range acknowledged {
		_, after, found := strings.Cut(rest, command)
		if !found {
			t.Fatalf("%s was acknowledged and is missing or out of order in %s", command, leader.fsm)
		}
		rest = after
	}
	if len(acknowledged) < 20 {
		t.Errorf("only %d of 200 commands were acknowledged: the faults leave no room", len(acknowledged))
	}
}

// breakSomething does one thing to one link, or undoes it.
func breakSomething(n *wire.Network, rng *rand.Rand) {
	names := []string{"a", "b", "c"}
	rng.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	a, b := names[0], names[1]
	switch rng.IntN(8) {
	case 0:
		n.Cut(a, b)
	case 1:
		n.CutOneWay(a, b)
	case 2:
		n.Reset(a, b)
	case 3:
		n.Delay(a, b, time.Duration(rng.IntN(300))*time.Millisecond)
	case 4:
		n.Delay(a, b, 0)
	default:
		n.Heal(a, b)
	}
}
