package resp

// Replies of the COMMAND family. They need nothing but the table.

// WriteCount answers COMMAND COUNT.
func (t *Table) WriteCount(w *Writer) { w.Int(int64(t.Len())) }

// WriteAll answers COMMAND, and COMMAND INFO without names.
func (t *Table) WriteAll(w *Writer) {
	w.Array(len(t.specs))
	for i := range t.specs {
		writeInfo(w, &t.specs[i])
	}
}

// WriteInfo answers COMMAND INFO: one description for every name, null for a
// name that is not known.
func (t *Table) WriteInfo(w *Writer, names [][]byte) {
	if len(names) == 0 {
		t.WriteAll(w)
		return
	}
	w.Array(len(names))
	for _, name := range names {
		if spec := t.Find(name); spec != nil {
			writeInfo(w, spec)
		} else {
			w.NullArray()
		}
	}
}

// WriteList answers COMMAND LIST: the names that the filter takes, all of them
// if it is nil.
func (t *Table) WriteList(w *Writer, filter func(*Spec) bool) {
	var names []string
	for i := range t.specs {
		if filter == nil || filter(&t.specs[i]) {
			names = append(names, t.specs[i].Name)
		}
	}
	w.Array(len(names))
	for _, name := range names {
		w.BulkString(name)
	}
}

// WriteDocs answers COMMAND DOCS: the documentation of the named commands that
// are known, or of all if there are no names.
func (t *Table) WriteDocs(w *Writer, names [][]byte) {
	var found []*Spec
	for _, name := range names {
		if spec := t.Find(name); spec != nil {
			found = append(found, spec)
		}
	}
	if len(names) == 0 {
		for i := range t.specs {
			found = append(found, &t.specs[i])
		}
	}
	w.Map(len(found))
	for _, spec := range found {
		writeDocs(w, spec)
	}
}

// WriteGetKeys answers COMMAND GETKEYS for the given command line.
func (t *Table) WriteGetKeys(w *Writer, line Command) {
	_, spec := t.lookup(line)
	switch {
	case spec == nil:
		w.Error("ERR Invalid command specified")
		return
	case !spec.accepts(len(line.Args)):
		w.Error("ERR Invalid number of arguments specified for command")
		return
	case spec.Keys.First == 0:
		w.Error("ERR The command has no key arguments")
		return
	}
	keys := spec.AppendKeys(nil, line)
	if len(keys) == 0 {
		w.Error("ERR Invalid arguments specified for command")
		return
	}
	w.Array(len(keys))
	for _, key := range keys {
		w.Bulk(key)
	}
}

// writeInfo writes the ten elements of Redis 7.
func writeInfo(w *Writer, s *Spec) {
	w.Array(10)
	w.BulkString(s.Name)
	w.Int(int64(s.Arity))
	writeStatusSet(w, s.Flags.names())
	w.Int(int64(s.Keys.First))
	w.Int(int64(s.Keys.Last))
	w.Int(int64(s.Keys.Step))
	writeStatusSet(w, s.categories())
	w.Array(0) // tips
	writeKeySpecs(w, s)
	w.Array(len(s.Subcommands))
	for i := range s.Subcommands {
		writeInfo(w, &s.Subcommands[i])
	}
}

func writeStatusSet(w *Writer, words []string) {
	w.Set(len(words))
	for _, word := range words {
		w.Status(word)
	}
}

// writeKeySpecs describes the keys once more in the newer form: where to begin,
// and how to go on from there.
func writeKeySpecs(w *Writer, s *Spec) {
	k := s.Keys
	if k.First == 0 {
		w.Array(0)
		return
	}
	w.Array(1)
	w.Map(3)
	w.BulkString("flags")
	access := "RW"
	if s.Flags&ReadOnly != 0 {
		access = "RO"
	}
	writeStatusSet(w, []string{access})

	w.BulkString("begin_search")
	w.Map(2)
	w.BulkString("type")
	if k.Behind == "" {
		w.BulkString("index")
		w.BulkString("spec")
		w.Map(1)
		w.BulkString("index")
		w.Int(int64(k.First))
	} else {
		w.BulkString("keyword")
		w.BulkString("spec")
		w.Map(2)
		w.BulkString("keyword")
		w.BulkString(k.Behind)
		w.BulkString("startfrom")
		w.Int(int64(k.First - 1))
	}

	w.BulkString("find_keys")
	w.Map(2)
	w.BulkString("type")
	w.BulkString("range")
	w.BulkString("spec")
	w.Map(3)
	w.BulkString("lastkey")
	if last := k.Last; last < 0 {
		w.Int(int64(last))
	} else {
		w.Int(int64(last - k.First))
	}
	w.BulkString("keystep")
	w.Int(int64(k.Step))
	w.BulkString("limit")
	w.Int(0)
}

// writeDocs writes a name and the map of its documentation.
func writeDocs(w *Writer, s *Spec) {
	fields := 2
	if s.Since != "" {
		fields++
	}
	if len(s.Subcommands) > 0 {
		fields++
	}
	w.BulkString(s.Name)
	w.Map(fields)
	w.BulkString("summary")
	w.BulkString(s.Summary)
	if s.Since != "" {
		w.BulkString("since")
		w.BulkString(s.Since)
	}
	w.BulkString("group")
	w.BulkString(string(s.Group))
	if len(s.Subcommands) > 0 {
		w.BulkString("subcommands")
		w.Map(len(s.Subcommands))
		for i := range s.Subcommands {
			writeDocs(w, &s.Subcommands[i])
		}
	}
}
