package resp

import (
	"bytes"
	"slices"
	"strings"
)

// Spec is what is known of a command beside what it does.
type Spec struct {
	// Name is in lower case. That of a subcommand names its container too:
	// "client|id".
	Name string
	// Arity is the number of arguments, the name included; negative if that
	// is the least.
	Arity int
	Flags Flags
	Keys  KeyRange
	Group Group
	// Since is the version of Redis that first had the command; clients look
	// at it. Empty for commands of our own.
	Since string
	// Summary is one sentence.
	Summary string
	// Subcommands makes the command a container of these.
	Subcommands []Spec
}

// Flags are properties of a command.
type Flags uint32

const (
	// Write: may change entries.
	Write Flags = 1 << iota
	// ReadOnly: reads entries and changes none.
	ReadOnly
	// DenyOOM: adds bytes, so it may be refused when memory is short.
	DenyOOM
	// Admin: for operators.
	Admin
	// NoScript: makes no sense within a script.
	NoScript
	// Loading: allowed while the grid loads.
	Loading
	// Stale: allowed on a member that may not answer reads.
	Stale
	// Fast: takes constant or logarithmic time.
	Fast
	// NoAuth: allowed before authentication.
	NoAuth
	// AllowBusy: allowed while a long command runs.
	AllowBusy
	// MovableKeys: where the keys are depends on the arguments.
	MovableKeys
	// SkipSlowLog: not worth a line of the slow log, its parts have theirs.
	SkipSlowLog
	// Dangerous: only in the ACL categories, not among the flags of Redis.
	Dangerous
)

// flagNames are the words of Redis, by the bits above.
var flagNames = [...]string{
	"write", "readonly", "denyoom", "admin", "noscript", "loading", "stale", "fast",
	"no_auth", "allow_busy", "movablekeys", "skip_slowlog",
}

// names returns the words of the flags.
func (f Flags) names() []string {
	var names []string
	for bit, name := range flagNames {
		if f&(1<<bit) != 0 {
			names = append(names, name)
		}
	}
	return names
}

// Group is the chapter of the documentation that a command belongs to.
type Group string

// The chapters. All but Spaces are Redis's own.
const (
	// Connection is about the connection itself: who speaks, and in which form.
	Connection Group = "connection"
	// ServerGroup asks the member about itself.
	ServerGroup Group = "server"
	// ClusterGroup asks who holds which slots.
	ClusterGroup Group = "cluster"
	// Generic works on entries of every kind.
	Generic Group = "generic"
	// Strings works on entries that are bytes.
	Strings Group = "string"
	// Hashes works on entries that are fields.
	Hashes Group = "hash"
	// Transactions runs several commands at once, or not at all.
	Transactions Group = "transactions"
	// Spaces is what a grid has beyond Redis.
	Spaces Group = "space"
)

// KeyRange says which arguments are keys: First, then every Step-th up to Last.
// A negative Last counts from the end, -1 being the last argument. The zero
// KeyRange means none.
type KeyRange struct {
	First, Last, Step int
	// Behind is the word that must stand before First for there to be a key
	// at all; empty if none need.
	Behind string
}

// AppendKeys appends the command's keys to dst. They share the bytes of c.
func (s *Spec) AppendKeys(dst [][]byte, c Command) [][]byte {
	k := s.Keys
	if k.First == 0 || k.First >= len(c.Args) {
		return dst
	}
	if k.Behind != "" && !strings.EqualFold(string(c.Args[k.First-1]), k.Behind) {
		return dst
	}
	last := k.Last
	if last < 0 {
		last += len(c.Args)
	}
	for i := k.First; i <= min(last, len(c.Args)-1); i += k.Step {
		dst = append(dst, c.Args[i])
	}
	return dst
}

// accepts reports whether the command may have n arguments.
func (s *Spec) accepts(n int) bool {
	if s.Arity < 0 {
		return n >= -s.Arity
	}
	return n == s.Arity
}

// categories returns the ACL categories, derived from flags and group.
func (s *Spec) categories() []string {
	var names []string
	add := func(yes bool, name string) {
		if yes {
			names = append(names, "@"+name)
		}
	}
	container := len(s.Subcommands) > 0 && s.Arity < -1
	add(s.Flags&Write != 0, "write")
	add(s.Flags&ReadOnly != 0, "read")
	add(s.Group == Generic && !container, "keyspace")
	add(s.Group == Strings, "string")
	add(s.Group == Hashes, "hash")
	add(s.Group == Spaces, "space")
	add(s.Flags&Admin != 0, "admin")
	add(s.Flags&Fast != 0, "fast")
	add(s.Flags&Fast == 0, "slow")
	add(s.Flags&(Admin|Dangerous) != 0, "dangerous")
	add(s.Group == Connection && !container, "connection")
	add(s.Group == Transactions, "transaction")
	return names
}

// Table finds commands by name. It does not change once made and may be used by
// several goroutines.
type Table struct {
	specs  []Spec           // top-level commands, in order of name
	byName map[string]*Spec // subcommands too, by full name
}

// NewTable returns the table of the commands of this package. Names beyond the
// ones of Redis start with "space.".
func NewTable() *Table {
	t := &Table{specs: slices.Concat(connectionCommands(), serverCommands(), stringCommands(), keyCommands(), hashCommands(), transactionCommands(), spaceCommands())}
	slices.SortFunc(t.specs, func(a, b Spec) int { return strings.Compare(a.Name, b.Name) })
	t.byName = make(map[string]*Spec, 2*len(t.specs))
	for i := range t.specs {
		spec := &t.specs[i]
		t.byName[spec.Name] = spec
		for j := range spec.Subcommands {
			t.byName[spec.Subcommands[j].Name] = &spec.Subcommands[j]
		}
	}
	return t
}

// Len returns the number of top-level commands.
func (t *Table) Len() int { return len(t.specs) }

// Specs returns the top-level commands in order of name. The slice belongs to
// the table.
func (t *Table) Specs() []Spec { return t.specs }

// maxCommandName is longer than any full name in the table.
const maxCommandName = 64

// Find returns the command of that name, in any case, or nil. The name of a
// subcommand is "container|subcommand".
func (t *Table) Find(name []byte) *Spec {
	var lower [maxCommandName]byte
	full, ok := appendLower(lower[:0], name)
	if !ok {
		return nil
	}
	return t.byName[string(full)]
}

// Resolve finds what the client asks for, down to the subcommand, and checks
// its arity. If the command cannot be served, spec is nil and refusal is the
// text of the error reply, as Redis words it. A command that is found costs no
// allocation.
func (t *Table) Resolve(c Command) (spec *Spec, refusal string) {
	container, spec := t.lookup(c)
	switch {
	case container == nil:
		return nil, unknownCommand(c)
	case spec == nil:
		return nil, "ERR unknown subcommand '" + quotable(c.Args[1], refusalQuote) + "'. Try " + strings.ToUpper(container.Name) + " HELP."
	case !spec.accepts(len(c.Args)):
		return nil, "ERR wrong number of arguments for '" + spec.Name + "' command"
	}
	return spec, ""
}

// lookup finds the top-level command, nil if there is none, and what is really
// asked for, nil if that is a subcommand that does not exist.
func (t *Table) lookup(c Command) (top, spec *Spec) {
	var lower [maxCommandName]byte
	full, ok := appendLower(lower[:0], c.Name())
	if !ok || bytes.IndexByte(full, '|') >= 0 {
		return nil, nil
	}
	top = t.byName[string(full)]
	if top == nil || len(top.Subcommands) == 0 || len(c.Args) == 1 {
		return top, top
	}
	full, ok = appendLower(append(full, '|'), c.Args[1])
	if !ok {
		return top, nil
	}
	return top, t.byName[string(full)]
}

// refusalQuote is how much of what the client sent an error quotes: of the
// command's name, and of its arguments together, in bytes.
const refusalQuote = 128

func unknownCommand(c Command) string {
	var args strings.Builder
	for _, arg := range c.Args[1:] {
		if args.Len() >= refusalQuote {
			break
		}
		args.WriteString("'" + quotable(arg, refusalQuote-args.Len()) + "' ")
	}
	return "ERR unknown command '" + quotable(c.Name(), refusalQuote) + "', with args beginning with: " + args.String()
}

// quotable returns the start of b, up to a zero byte, at which the texts of
// Redis end too.
func quotable(b []byte, most int) string {
	b = b[:min(len(b), most)]
	if end := bytes.IndexByte(b, 0); end >= 0 {
		b = b[:end]
	}
	return string(b)
}

// appendLower appends name in lower case. It reports false, and appends
// nothing, if no full name can be so long.
func appendLower(dst, name []byte) ([]byte, bool) {
	if len(dst)+len(name) > maxCommandName {
		return dst, false
	}
	for _, c := range name {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		dst = append(dst, c)
	}
	return dst, true
}
