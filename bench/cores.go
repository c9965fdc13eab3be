package bench

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"time"
)

// ticksPerSecond is the unit in which the kernel tells processor time to
// programs; it is the same on every Linux.
const ticksPerSecond = 100

// coresUsed is how much processor time was used up to a moment.
type coresUsed struct {
	at   time.Time
	busy int64 // by all programs, in ticks
	own  int64 // by the processes of a run, in ticks
	ok   bool  // whether the system tells
}

// readCores reads the processor time used so far by the machine, and by this
// process and others given by their ids.
func readCores(pids []int) coresUsed {
	stat, err := os.ReadFile("/proc/stat")
	if err != nil {
		return coresUsed{}
	}
	line, _, _ := bytes.Cut(stat, []byte("\n"))
	// cpu user nice system idle …: what interrupts take is nobody's.
	busy, ok := sumFields(bytes.Fields(line), 1, 3)
	c := coresUsed{at: time.Now(), busy: busy, ok: ok}
	for _, pid := range append([]int{os.Getpid()}, pids...) {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			return coresUsed{}
		}
		// The second field is the program's name, which may contain anything.
		end := bytes.LastIndexByte(stat, ')')
		used, ok := sumFields(bytes.Fields(stat[end+1:]), 11, 2) // user and system time
		c.own += used
		c.ok = c.ok && ok
	}
	return c
}

// sumFields adds n numbers from fields, beginning at from.
func sumFields(fields [][]byte, from, n int) (sum int64, ok bool) {
	if len(fields) < from+n {
		return 0, false
	}
	for _, f := range fields[from : from+n] {
		v, err := strconv.ParseInt(string(f), 10, 64)
		if err != nil {
			return 0, false
		}
		sum += v
	}
	return sum, true
}

// others returns how many cores programs that are no part of the run kept busy
// since an earlier reading, on average; it is nil if the system does not tell.
func (c coresUsed) others(since coresUsed) *float64 {
	seconds := c.at.Sub(since.at).Seconds()
	if !c.ok || !since.ok || seconds <= 0 {
		return nil
	}
	ticks := max(0, (c.busy-since.busy)-(c.own-since.own))
	cores := float64(ticks) / ticksPerSecond / seconds
	return &cores
}
