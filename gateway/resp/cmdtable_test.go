package resp

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

func line(words ...string) Command {
	var c Command
	for _, word := range words {
		c.Args = append(c.Args, []byte(word))
	}
	return c
}

// Every entry of the table is one that clients can work with.
func TestTableIsSound(t *testing.T) {
	table := NewTable()
	seen := map[string]bool{}
	check := func(s Spec) {
		if s.Name != strings.ToLower(s.Name) || len(s.Name) > maxCommandName/2 || seen[s.Name] {
			t.Errorf("%s: bad name or twice", s.Name)
		}
		seen[s.Name] = true
		if s.Arity == 0 || !strings.HasSuffix(s.Summary, ".") || s.Group == "" {
			t.Errorf("%s: incomplete", s.Name)
		}
		if s.Flags&Write != 0 && s.Flags&ReadOnly != 0 {
			t.Errorf("%s: reads only, and writes", s.Name)
		}
		if k := s.Keys; k.First > 0 && (k.Step == 0 || k.Last == 0 || k.Last > 0 && k.Last < k.First) {
			t.Errorf("%s: keys %+v", s.Name, k)
		}
		if k := s.Keys; k.First > 0 && k.Behind == "" && s.accepts(k.First) {
			t.Errorf("%s: may come without its first key", s.Name)
		}
	}
	for _, s := range table.Specs() {
		check(s)
		for _, sub := range s.Subcommands {
			check(sub)
			if !strings.HasPrefix(sub.Name, s.Name+"|") {
				t.Errorf("%s in %s", sub.Name, s.Name)
			}
			if table.Find([]byte(sub.Name)) == nil {
				t.Errorf("%s is not found", sub.Name)
			}
		}
	}
	if table.Len() != len(table.Specs()) {
		t.Errorf("%d commands", table.Len())
	}
}

// Commands are found in any case; what cannot be served is refused with the
// texts of Redis.
func TestTableResolves(t *testing.T) {
	table := NewTable()
	long := strings.Repeat("a", 200)
	for _, test := range []struct {
		line          Command
		name, refusal string
	}{
		{line("get", "k"), "get", ""},
		{line("GeT", "k"), "get", ""},
		{line("CLIENT", "ID"), "client|id", ""},
		{line("COMMAND"), "command", ""},
		{line("COMMAND", "Docs", "get"), "command|docs", ""},
		{line("SPACE.READ", "s", "KEY", "k"), "space.read", ""},
		{line("GET"), "", "ERR wrong number of arguments for 'get' command"},
		{line("GET", "a", "b"), "", "ERR wrong number of arguments for 'get' command"},
		{line("MSET", "a"), "", "ERR wrong number of arguments for 'mset' command"},
		{line("CLIENT"), "", "ERR wrong number of arguments for 'client' command"},
		{line("CLIENT", "ID", "x"), "", "ERR wrong number of arguments for 'client|id' command"},
		{line("client", "Foo"), "", "ERR unknown subcommand 'Foo'. Try CLIENT HELP."},
		{line("client", long), "", "ERR unknown subcommand '" + long[:128] + "'. Try CLIENT HELP."},
		{line("client|id"), "", "ERR unknown command 'client|id', with args beginning with: "},
		{line("NOPE", "a", "b"), "", "ERR unknown command 'NOPE', with args beginning with: 'a' 'b' "},
		{line("NOPE"), "", "ERR unknown command 'NOPE', with args beginning with: "},
		{line(""), "", "ERR unknown command '', with args beginning with: "},
		{line("n\x00ope", "a\x00b"), "", "ERR unknown command 'n', with args beginning with: 'a' "},
		{line(long, long, "b"), "", "ERR unknown command '" + long[:128] + "', with args beginning with: '" + long[:128] + "' "},
		{line("NOPE", long[:120], "bcdefghij", "k"), "", "ERR unknown command 'NOPE', with args beginning with: '" + long[:120] + "' 'bcdef' "},
	} {
		spec, refusal := table.Resolve(test.line)
		name := ""
		if spec != nil {
			name = spec.Name
		}
		if name != test.name || refusal != test.refusal {
			t.Errorf("%.60q: %q, %q; want %q, %q", test.line.Args, name, refusal, test.name, test.refusal)
		}
	}
	command := line("CLIENT", "GETNAME")
	if n := testing.AllocsPerRun(100, func() { table.Resolve(command) }); n != 0 {
		t.Errorf("a lookup allocates %v times", n)
	}
}

// COMMAND GETKEYS finds the keys and says why there are none.
func TestTableGetKeys(t *testing.T) {
	table := NewTable()
	for _, test := range []struct{ line, want string }{
		{"get k", "*1 k"},
		{"mget a b c", "*3 a b c"},
		{"mset a 1 b 2", "*2 a b"},
		{"mset a 1 b", "*2 a b"},
		{"rename a b", "*2 a b"},
		{"object encoding k", "*1 k"},
		{"watch a b", "*2 a b"},
		{"hset k f v", "*1 k"},
		{"space.read s KEY k", "*1 k"},
		{"space.take s key k WAIT 5", "*1 k"},
		{"space.take s WHERE x", "-ERR Invalid arguments specified for command"},
		{"ping", "-ERR The command has no key arguments"},
		{"nope k", "-ERR Invalid command specified"},
		{"object nope k", "-ERR Invalid command specified"},
		{"get", "-ERR Invalid number of arguments specified for command"},
	} {
		var out bytes.Buffer
		w := NewWriter(&out)
		table.WriteGetKeys(w, line(strings.Fields(test.line)...))
		_ = w.Flush()
		want := test.want + "\r\n"
		if words := strings.Fields(test.want); words[0][0] == '*' {
			want = words[0] + "\r\n"
			for _, word := range words[1:] {
				want += fmt.Sprintf("$%d\r\n%s\r\n", len(word), word)
			}
		}
		if out.String() != want {
			t.Errorf("%s: %q, want %q", test.line, out.String(), want)
		}
	}
}

// The replies of the COMMAND family are whole in both protocols, and have the
// shape that clients take apart.
func TestTableReplies(t *testing.T) {
	table := NewTable()
	get, all := [][]byte{[]byte("GET")}, [][]byte{[]byte("get"), []byte("nope"), []byte("client|id")}
	for name, reply := range map[string]struct {
		write        func(w *Writer)
		resp2, resp3 string // starts
	}{
		"count": {table.WriteCount, fmt.Sprintf(":%d\r\n", table.Len()), fmt.Sprintf(":%d\r\n", table.Len())},
		"all":   {table.WriteAll, fmt.Sprintf("*%d\r\n*10\r\n$3\r\nacl\r\n:-2\r\n*0\r\n", table.Len()), fmt.Sprintf("*%d\r\n*10\r\n$3\r\nacl\r\n:-2\r\n~0\r\n", table.Len())},
		"info of get": {func(w *Writer) { table.WriteInfo(w, get) },
			"*1\r\n*10\r\n$3\r\nget\r\n:2\r\n*2\r\n+readonly\r\n+fast\r\n:1\r\n:1\r\n:1\r\n*3\r\n+@read\r\n+@string\r\n+@fast\r\n*0\r\n*1\r\n*6\r\n$5\r\nflags\r\n*1\r\n+RO\r\n",
			"*1\r\n*10\r\n$3\r\nget\r\n:2\r\n~2\r\n+readonly\r\n+fast\r\n:1\r\n:1\r\n:1\r\n~3\r\n+@read\r\n+@string\r\n+@fast\r\n*0\r\n*1\r\n%3\r\n$5\r\nflags\r\n~1\r\n+RO\r\n"},
		"info of some": {func(w *Writer) { table.WriteInfo(w, all) }, "*3\r\n*10\r\n", "*3\r\n*10\r\n"},
		"list":         {func(w *Writer) { table.WriteList(w, nil) }, fmt.Sprintf("*%d\r\n$3\r\nacl\r\n", table.Len()), fmt.Sprintf("*%d\r\n$3\r\nacl\r\n", table.Len())},
		"list of spaces": {func(w *Writer) { table.WriteList(w, func(s *Spec) bool { return s.Group == Spaces }) },
			"*17\r\n$9\r\nspace.ack\r\n", "*17\r\n$9\r\nspace.ack\r\n"},
		"docs of get": {func(w *Writer) { table.WriteDocs(w, get) },
			"*2\r\n$3\r\nget\r\n*6\r\n$7\r\nsummary\r\n", "%1\r\n$3\r\nget\r\n%3\r\n$7\r\nsummary\r\n"},
		"docs": {func(w *Writer) { table.WriteDocs(w, nil) }, fmt.Sprintf("*%d\r\n", 2*table.Len()), fmt.Sprintf("%%%d\r\n", table.Len())},
	} {
		for proto, want := range map[int]string{2: reply.resp2, 3: reply.resp3} {
			var out bytes.Buffer
			w := NewWriter(&out)
			w.SetProto(proto)
			reply.write(w)
			_ = w.Flush()
			if made, complete := w.Replies(); made != 1 || !complete || !strings.HasPrefix(out.String(), want) {
				t.Errorf("%s, RESP%d: %d replies, complete: %t: %.200q, want %q", name, proto, made, complete, out.String(), want)
			}
		}
	}
}
