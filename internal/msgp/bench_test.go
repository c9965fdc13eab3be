package msgp

import "testing"

func BenchmarkCheck(b *testing.B) {
	v := ticket(b)
	b.SetBytes(int64(len(v)))
	for b.Loop() {
		if Check(v) != nil {
			b.Fatal("refused")
		}
	}
}

func BenchmarkCanonical(b *testing.B) {
	sorted := ticket(b)
	// The same fields, but the first pair comes last.
	first, err := Skip(sorted[1:])
	if err != nil {
		b.Fatal(err)
	}
	if first, err = Skip(first); err != nil {
		b.Fatal(err)
	}
	n := len(sorted) - len(first)
	unsorted := append(append([]byte{sorted[0]}, first...), sorted[1:n]...)
	for name, v := range map[string][]byte{"already": sorted, "unsorted": unsorted} {
		b.Run(name, func(b *testing.B) {
			dst := make([]byte, 0, 512)
			b.SetBytes(int64(len(v)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Canonical(dst, v); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkField(b *testing.B) {
	m := ticket(b)
	for _, name := range []string{"id", "price", "updated", "absent"} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, _ = Field(m, name)
			}
		})
	}
}

func BenchmarkSetField(b *testing.B) {
	m, value, dst := ticket(b), AppendFloat(nil, 91.5), make([]byte, 0, 512)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := SetField(dst, m, "price", value); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCompare(b *testing.B) {
	x, y := AppendInt(nil, 1_000_000), AppendFloat(nil, 1e6)
	for b.Loop() {
		_ = Compare(x, y)
	}
}

func BenchmarkJSON(b *testing.B) {
	m := ticket(b)
	text, err := AppendJSON(nil, m)
	if err != nil {
		b.Fatal(err)
	}
	dst := make([]byte, 0, 1024)
	b.Run("append", func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(int64(len(text)))
		for b.Loop() {
			_, _ = AppendJSON(dst, m)
		}
	})
	b.Run("from", func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(int64(len(text)))
		for b.Loop() {
			_, _ = FromJSON(dst, text)
		}
	})
}
