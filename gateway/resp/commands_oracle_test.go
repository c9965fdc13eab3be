package resp

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// startRedis runs a Redis server until the end of the test and returns its
// address. Without one installed the test is skipped.
func startRedis(t testing.TB) string {
	t.Helper()
	program, err := exec.LookPath("redis-server")
	if err != nil {
		t.Skip("SKIPPED: redis-server is not installed, so nothing is compared with it")
	}
	// The kernel picks a port that is free now; another process could take it
	// before the server does, which then fails to start and the test with it.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	_, port, _ := net.SplitHostPort(address)
	l.Close()
	command := exec.Command(program, "--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", t.TempDir())
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = command.Process.Kill()
		_ = command.Wait()
	})
	for range 200 {
		if c, err := net.Dial("tcp", address); err == nil {
			c.Close()
			return address
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("redis-server does not answer")
	return ""
}

// stream makes random commands over a few keys, so that they meet.
type stream struct{ *rand.Rand }

func (s stream) of(words ...string) string { return words[s.IntN(len(words))] }

func (s stream) key() string { return fmt.Sprintf("{t}%d", s.IntN(6)) }

func (s stream) field() string { return "f" + strconv.Itoa(s.IntN(4)) }

func (s stream) value() string {
	return s.of("1", "-5", "42", "abc", "3.5", "hello world", "\xff\x00\xfe", "9223372036854775807", "007", " 1", "0.25", "é")
}

func (s stream) number() string {
	return s.of("0", "1", "-1", "3", "10", "-7", "9223372036854775807", "-9223372036854775808", "x", "", "1.5", "01")
}

func (s stream) index() string { return strconv.Itoa(s.IntN(14) - 7) }

func (s stream) fraction() string { return s.of("0.5", "-0.25", "2", "1e2", "x", "1.125") }

// seconds are so far in the future that no key expires while the test runs.
func (s stream) seconds() string { return s.of("1000", "5000", "100000", "x") }

// command returns one command of those that both servers have.
func (s stream) command() []string {
	switch s.IntN(44) {
	case 0, 1, 2:
		return []string{"SET", s.key(), s.value()}
	case 3, 4, 5:
		return []string{"GET", s.key()}
	case 6:
		return []string{"SET", s.key(), s.value(), s.of("NX", "XX", "GET", "KEEPTTL", "BAD", "nx")}
	case 7:
		return []string{"SET", s.key(), s.value(), s.of("EX", "PX"), s.of("100000000", "0", "-1", "x"), s.of("GET", "XX", "NX")}
	case 8:
		return []string{s.of("INCR", "DECR"), s.key()}
	case 9:
		return []string{s.of("INCRBY", "DECRBY"), s.key(), s.number()}
	case 10:
		return s.floats()
	case 11:
		return []string{"APPEND", s.key(), s.value()}
	case 12:
		return []string{"STRLEN", s.key()}
	case 13:
		return []string{"GETRANGE", s.key(), s.index(), s.index()}
	case 14:
		return []string{"SETRANGE", s.key(), s.of("0", "2", "9", "-1", "x"), s.of("", "zz", "q")}
	case 15:
		return []string{"GETSET", s.key(), s.value()}
	case 16:
		return []string{"GETDEL", s.key()}
	case 17:
		return []string{"GETEX", s.key(), s.of("PERSIST", "BAD")}
	case 18:
		return []string{"GETEX", s.key(), "EX", s.seconds()}
	case 19:
		return []string{"MGET", s.key(), s.key(), s.key()}
	case 20:
		return []string{"MSET", s.key(), s.value(), s.key(), s.value()}
	case 21:
		return []string{"MSETNX", s.key(), s.value(), s.key(), s.value()}
	case 22:
		return []string{s.of("DEL", "UNLINK", "EXISTS", "TOUCH"), s.key(), s.key()}
	case 23:
		return []string{"TYPE", s.key()}
	case 24:
		return []string{s.of("RENAME", "RENAMENX", "COPY"), s.key(), s.key()}
	case 25:
		return []string{"COPY", s.key(), s.key(), s.of("REPLACE", "BAD")}
	case 26:
		return []string{"EXPIRE", s.key(), s.seconds()}
	case 27:
		return []string{"EXPIRE", s.key(), strconv.Itoa(1000 + s.IntN(1_000_000)), s.of("NX", "XX", "GT", "LT", "BAD")}
	case 28:
		return []string{s.of("TTL", "PERSIST"), s.key()}
	case 29:
		return []string{"EXPIREAT", s.key(), s.of("4000000000", "1", "x")}
	case 30:
		return []string{"EXPIRETIME", s.key()}
	case 31:
		return []string{"SETNX", s.key(), s.value()}
	case 32:
		return []string{"SETEX", s.key(), s.seconds(), s.value()}
	}
	return s.hash()
}

// floats works on keys of its own: Redis adds in 80 bits, so that sums beyond 53
// differ.
func (s stream) floats() []string {
	key := s.of("{t}x", "{t}y")
	switch s.IntN(6) {
	case 0:
		return []string{"INCRBYFLOAT", s.key(), "x"}
	case 1:
		return []string{"GET", key}
	case 2:
		return []string{"SET", key, s.of("3", "-0.5", "10.0")}
	}
	return []string{"INCRBYFLOAT", key, s.fraction()}
}

func (s stream) hash() []string {
	switch s.IntN(12) {
	case 0, 1:
		return []string{"HSET", s.key(), s.field(), s.value(), s.field(), s.value()}
	case 2:
		return []string{"HGET", s.key(), s.field()}
	case 3:
		return []string{"HMGET", s.key(), s.field(), s.field()}
	case 4:
		return []string{s.of("HGETALL", "HKEYS", "HVALS", "HLEN"), s.key()}
	case 5:
		return []string{"HDEL", s.key(), s.field(), s.field(), s.field()}
	case 6:
		return []string{s.of("HEXISTS", "HSTRLEN"), s.key(), s.field()}
	case 7:
		return []string{"HSETNX", s.key(), s.field(), s.value()}
	case 8:
		return []string{"HINCRBY", s.key(), s.field(), s.number()}
	case 9:
		return []string{"HINCRBYFLOAT", s.key(), s.of("float", "other"), s.fraction()}
	case 10:
		return []string{"HMSET", s.key(), s.field(), s.value()}
	}
	return []string{"HSCAN", s.key(), "0", "MATCH", s.of("*", "f[12]", "x")}
}

var number = regexp.MustCompile(`^-?\d+$`)

// comparableReply brings a reply into the form in which the two servers have to agree.
// What may differ:
//
//   - the order of the fields of a hash, which neither promises;
//   - the last second of what is left of a lease, and of a moment of expiry;
func comparableReply(command []string, reply string) string {
	switch command[0] {
	case "HGETALL", "HKEYS", "HVALS", "HSCAN":
		words := strings.FieldsFunc(reply, func(r rune) bool { return r == ' ' || r == '[' || r == ']' })
		slices.Sort(words)
		return strings.Join(words, " ")
	case "TTL", "EXPIRETIME":
		if n, err := strconv.Atoi(reply); err == nil && number.MatchString(reply) && n > 0 {
			return fmt.Sprint((n + 5) / 10)
		}
	}
	return reply
}

// skewed reports whether two replies that differ are the same but for a second
// at the edge of what comparableReply rounds to.
func skewed(command []string, a, b string) bool {
	if command[0] != "TTL" && command[0] != "EXPIRETIME" {
		return false
	}
	x, err1 := strconv.Atoi(a)
	y, err2 := strconv.Atoi(b)
	return err1 == nil && err2 == nil && x > 0 && y > 0 && max(x-y, y-x) <= 1
}

// A Redis server and this one answer the same to the same random commands, also
// within MULTI, but for what comparableReply lists.
func TestAgainstRedis(t *testing.T) {
	redis := startRedis(t)
	_, address := startCommands(t, CommandsConfig{})
	for seed := range uint64(12) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			s := stream{rand.New(rand.NewPCG(seed, 7))}
			theirs, ours := dialPeer(t, redis), dialPeer(t, address)
			queued := [][]string{}
			in := false
			step := func(command ...string) {
				want, err := theirs.call(command...)
				if err != nil {
					t.Fatal(err)
				}
				got, err := ours.call(command...)
				if err != nil {
					t.Fatal(err)
				}
				w, g := comparableReply(command, want), comparableReply(command, got)
				if w != g && !skewed(command, w, g) && !(command[0] == "EXEC" && sameExec(queued, want, got)) {
					t.Fatalf("%q: got %s, Redis answers %s", command, got, want)
				}
			}
			step("FLUSHALL")
			for range 1000 {
				switch n := s.IntN(100); {
				case n < 3 && !in:
					if n == 0 {
						step("WATCH", s.key(), s.key())
					}
					step("MULTI")
					in, queued = true, nil
				case n < 15 && in:
					step("EXEC")
					in = false
				case n == 15 && in:
					step("DISCARD")
					in = false
				default:
					command := s.command()
					if in {
						if !queueable(command) {
							continue
						}
						queued = append(queued, command)
					}
					step(command...)
				}
			}
		})
	}
}

// queueable reports whether a command can be part of MULTI here: those of several
// steps cannot. HDEL can, but a hash that loses its last field is in the way of
// another kind of value until the transaction has ended.
func queueable(command []string) bool {
	switch command[0] {
	case "GETSET", "GETDEL", "MSETNX", "RENAME", "RENAMENX", "COPY", "PERSIST", "HDEL":
		return false
	case "GETEX", "EXPIRE":
		return len(command) < 4 && command[0] == "EXPIRE"
	case "SET":
		return !slices.Contains(command[3:], "GET")
	}
	return true
}

// sameExec compares the replies of a transaction whose commands include those
// with an order of their own or a moment.
func sameExec(queued [][]string, want, got string) bool {
	loose := slices.ContainsFunc(queued, func(c []string) bool {
		return slices.Contains([]string{"HGETALL", "HKEYS", "HVALS", "HSCAN", "TTL", "EXPIRETIME"}, c[0])
	})
	return loose && len(want) == len(got) && strings.HasPrefix(got, "[")
}
