package resp

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spacegrid/spacegrid/gateway/form"
	"github.com/spacegrid/spacegrid/grid"
	"github.com/spacegrid/spacegrid/grid/space"
)

func spaceList(d *dialog, _ Command) {
	defs, err := d.commands.grid.Spaces(d.ctx)
	if err != nil {
		d.fail(err)
		return
	}
	d.out.Array(len(defs))
	for _, def := range defs {
		d.out.BulkString(def.Name)
	}
}

func spaceDescribe(d *dialog, c Command) {
	def, err := d.commands.grid.Describe(d.ctx, string(c.Args[1]))
	if err != nil {
		d.fail(err)
		return
	}
	d.describe(&def)
}

// describe replies with a definition: times in milliseconds, the fields of each
// index, which of them are ordered, and of those that do not serve yet how much of
// the entries is in them.
func (d *dialog) describe(def *space.Definition) {
	building, err := d.commands.grid.Building(d.ctx, def)
	if err != nil {
		d.fail(err)
		return
	}
	d.out.Map(14)
	d.pair("name", def.Name)
	d.pair("shape", def.Shape.String())
	d.pair("key", def.Key)
	d.pair("group", def.Group)
	d.pair("routing", def.Routing)
	d.number("lease", int64(def.Lease/time.Millisecond))
	d.number("scanlimit", int64(def.ScanLimit))
	d.number("claimlease", int64(def.ClaimLease/time.Millisecond))
	d.number("attempts", int64(def.MaxAttempts))
	d.pair("deadletter", d.commands.grid.SpaceName(def.DeadLetter))
	d.out.BulkString("fields")
	d.out.Map(len(def.Fields))
	for _, f := range def.Fields {
		d.pair(f.Path, f.Type.String())
	}
	d.out.BulkString("indexes")
	d.out.Map(len(def.Indexes))
	var ordered []string
	for _, x := range def.Indexes {
		d.out.BulkString(x.Name)
		d.texts(x.Fields)
		if x.Ordered {
			ordered = append(ordered, x.Name)
		}
	}
	d.out.BulkString("ordered")
	d.texts(ordered)
	d.out.BulkString("building")
	d.out.Map(len(building))
	for _, b := range building {
		d.out.BulkString(b.Index)
		d.out.Double(b.Done)
	}
}

func (d *dialog) number(key string, n int64) {
	d.out.BulkString(key)
	d.out.Int(n)
}

func (d *dialog) texts(list []string) {
	d.out.Array(len(list))
	for _, text := range list {
		d.out.BulkString(text)
	}
}

func spaceDrop(d *dialog, c Command) {
	if len(c.Args) != 3 || !isWord(c.Args[2], "YES") {
		d.error("ERR say YES to drop the space with all its entries")
		return
	}
	if err := d.commands.grid.DropSpace(d.ctx, string(c.Args[1])); err != nil {
		d.fail(err)
		return
	}
	d.out.OK()
}

func spaceCreate(d *dialog, c Command) {
	p := definitionParser{}
	if refusal := p.parse(c.Args[2:], createWords); refusal != "" {
		d.error(refusal)
		return
	}
	p.def.Name, p.def.Indexes, p.def.Fields = string(c.Args[1]), p.alter.AddIndexes, p.alter.AddFields
	if p.alter.ClaimLease != nil {
		p.def.ClaimLease = *p.alter.ClaimLease
	}
	if p.alter.MaxAttempts != nil {
		p.def.MaxAttempts = *p.alter.MaxAttempts
	}
	var err error
	if dead := p.alter.DeadLetter; dead != nil && *dead != "" {
		p.def.DeadLetter, err = d.commands.grid.DeadLetterSpace(d.ctx, *dead, p.def.Shape)
	}
	var made space.Definition
	if err == nil {
		made, err = d.commands.grid.CreateSpace(d.ctx, p.def)
	}
	if err != nil {
		d.fail(err)
		return
	}
	d.describe(&made)
}

func spaceAlter(d *dialog, c Command) {
	p := definitionParser{}
	refusal := p.parse(c.Args[2:], alterWords)
	if refusal != "" {
		d.error(refusal)
		return
	}
	def, err := d.commands.grid.AlterSpace(d.ctx, string(c.Args[1]), p.alter)
	if err != nil {
		d.fail(err)
		return
	}
	d.describe(&def)
}

// The options of SPACE.CREATE and SPACE.ALTER. INDEX and ORDERED take a name and
// one field or more; fields behind the first cannot have the name of an option.
//
//	SPACE.CREATE space [SHAPE any|fields|bytes] [KEY field] [LEASE ms] [SCANLIMIT n] [GROUP field] [ROUTING field]
//	                   and those of SPACE.ALTER but for DROPINDEX and DROPFIELD
//	SPACE.ALTER  space [INDEX name field …] [ORDERED name field …] [DROPINDEX name] [FIELD path type] [DROPFIELD path]
//	                   [CLAIMLEASE ms] [ATTEMPTS n] [DEADLETTER space, empty for none], any of them repeatedly
var (
	bothWords   = []string{"INDEX", "ORDERED", "FIELD", "CLAIMLEASE", "ATTEMPTS", "DEADLETTER"}
	createWords = append([]string{"SHAPE", "KEY", "LEASE", "SCANLIMIT", "GROUP", "ROUTING"}, bothWords...)
	alterWords  = append([]string{"DROPINDEX", "DROPFIELD"}, bothWords...)
)

// definitionParser reads the options. What both commands have goes into alter.
type definitionParser struct {
	def   space.Definition
	alter grid.Alteration
}

func (p *definitionParser) parse(args [][]byte, words []string) (refusal string) {
	is := func(arg []byte) bool {
		return slices.ContainsFunc(words, func(w string) bool { return isWord(arg, w) })
	}
	for len(args) > 0 {
		if !is(args[0]) || len(args) < 2 {
			return textSyntax
		}
		word, arg := strings.ToUpper(string(args[0])), string(args[1])
		args = args[2:]
		switch word {
		case "INDEX", "ORDERED":
			index := space.Index{Name: arg, Ordered: word == "ORDERED"}
			for len(args) > 0 && (len(index.Fields) == 0 || !is(args[0])) {
				index.Fields = append(index.Fields, string(args[0]))
				args = args[1:]
			}
			p.alter.AddIndexes = append(p.alter.AddIndexes, index)
		case "FIELD":
			if len(args) == 0 {
				return textSyntax
			}
			t, err := form.ParseType(strings.ToLower(string(args[0])))
			if err != nil {
				return errorText(err)
			}
			p.alter.AddFields = append(p.alter.AddFields, space.Field{Path: arg, Type: t})
			args = args[1:]
		default:
			if refusal := p.option(word, arg); refusal != "" {
				return refusal
			}
		}
	}
	return ""
}

func (p *definitionParser) option(word, arg string) (refusal string) {
	switch word {
	case "SHAPE":
		shape, err := space.ParseShape(strings.ToLower(arg))
		if err != nil {
			return errorText(err)
		}
		p.def.Shape = shape
	case "KEY":
		p.def.Key = arg
	case "GROUP":
		p.def.Group = arg
	case "ROUTING":
		p.def.Routing = arg
	case "DEADLETTER":
		p.alter.DeadLetter = &arg
	case "DROPINDEX":
		p.alter.DropIndexes = append(p.alter.DropIndexes, arg)
	case "DROPFIELD":
		p.alter.DropFields = append(p.alter.DropFields, arg)
	default:
		n, err := strconv.Atoi(arg)
		if err != nil {
			return textNotInteger
		}
		switch word {
		case "LEASE":
			p.def.Lease = milliseconds(int64(n))
		case "SCANLIMIT":
			p.def.ScanLimit = n
		case "CLAIMLEASE":
			p.alter.ClaimLease = new(milliseconds(int64(n)))
		case "ATTEMPTS":
			p.alter.MaxAttempts = &n
		}
	}
	return ""
}
