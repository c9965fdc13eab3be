package main

import (
	"time"

	"github.com/spacegrid/spacegrid/grid"
)

// question is asked of the grid and of SQLite.
type question struct {
	asks string // in words
	// where and args are a condition as for grid.Where; empty is none. Without
	// parts all columns of the rows that meet it are asked for, in the order of the
	// file.
	where string
	args  []any
	parts []grid.Aggregation
	// ranked names the columns shown of entries in a Top or Bottom, behind the
	// groups, the place and the value that ranked them.
	ranked []string
	sql    string
}

func day(year int, month time.Month, day int) time.Time {
	return time.Date(year, month, day, 0, 0, 0, 0, time.UTC)
}

// questions are in the order of their difficulty.
var questions = []question{
	{
		asks: "equalities",
		where: `"Phase of flight" = 'Climb' and "Wildlife Size" = 'Large' and "Time of day" <> 'Day'
			and "Effect Amount of damage" <> 'None'`,
		sql: `select * from strikes
			where "Phase of flight" = 'Climb' and "Wildlife Size" = 'Large' and "Time of day" <> 'Day'
				and "Effect Amount of damage" <> 'None'
			order by rowid`,
	},
	{
		asks:  "ranges of days and numbers",
		where: `"Flight Date" >= ? and "Flight Date" < ? and "Speed IAS in knots" > 180 and "Cost Total $" <= 99999.5`,
		args:  []any{day(1995, time.January, 1), day(1999, time.July, 1)},
		sql: `select * from strikes
			where "Flight Date" >= '1995-01-01' and "Flight Date" < '1999-07-01' and "Speed IAS in knots" > 180
				and "Cost Total $" <= 99999.5
			order by rowid`,
	},
	{
		asks: "in, between, prefix and null",
		where: `"Origin State" in ('Texas', 'California', 'DC', 'Hawaii') and "Flight Date" between $1 and $2
			and "Aircraft Make Model" prefix 'B-7' and not "Wildlife Species" prefix 'Unknown bird -'
			and "Speed IAS in knots" is null`,
		args: []any{day(1990, time.June, 30), day(2001, time.September, 10)},
		sql: `select * from strikes
			where "Origin State" in ('Texas', 'California', 'DC', 'Hawaii')
				and "Flight Date" between '1990-06-30' and '2001-09-10'
				and substr("Aircraft Make Model", 1, 3) = 'B-7' and not substr("Wildlife Species", 1, 14) = 'Unknown bird -'
				and "Speed IAS in knots" is null
			order by rowid`,
	},
	{
		asks: "not, or and and, where the speed may be unknown",
		where: `not ("Speed IAS in knots" between 100 and 250 and "Wildlife Size" <> 'Small')
			and not ("Speed IAS in knots" >= 140 or "Effect Amount of damage" in ('None', 'C'))
			or "Speed IAS in knots" not in (130, 140, 150) and not ("Speed IAS in knots" < 300 and "Cost Total $" = 0)
			and not ("Speed IAS in knots" is null and "Time of day" = 'Night')`,
		sql: `select * from strikes
			where not ("Speed IAS in knots" between 100 and 250 and "Wildlife Size" <> 'Small')
				and not ("Speed IAS in knots" >= 140 or "Effect Amount of damage" in ('None', 'C'))
				or "Speed IAS in knots" not in (130, 140, 150) and not ("Speed IAS in knots" < 300 and "Cost Total $" = 0)
				and not ("Speed IAS in knots" is null and "Time of day" = 'Night')
			order by rowid`,
	},
	{
		asks: "arithmetic: cost per knot in integers and in floats, where knots may be 0 or unknown",
		where: `"Cost Repair" + 2 * "Cost Other" > 500
				and ("Cost Total $" / "Speed IAS in knots" % 2 = 1 or "Cost Total $" * 1.0 / "Speed IAS in knots" >= 312.5)
			or not "Cost Total $" * 0.1 / "Speed IAS in knots" <= 66.6
			or ("Cost Total $" - "Cost Other") % 7 = -(0 - 3)
			or "Cost Total $" / "Speed IAS in knots" is null and "Speed IAS in knots" is not null`,
		sql: `select * from strikes
			where "Cost Repair" + 2 * "Cost Other" > 500
					and ("Cost Total $" / "Speed IAS in knots" % 2 = 1 or "Cost Total $" * 1.0 / "Speed IAS in knots" >= 312.5)
				or not "Cost Total $" * 0.1 / "Speed IAS in knots" <= 66.6
				or ("Cost Total $" - "Cost Other") % 7 = -(0 - 3)
				or "Cost Total $" / "Speed IAS in knots" is null and "Speed IAS in knots" is not null
			order by rowid`,
	},
	{
		asks:  "groups, one of them of what is unknown",
		where: `"Phase of flight" in ('Taxi', 'Parked', 'Descent')`,
		parts: []grid.Aggregation{
			grid.GroupBy("Speed IAS in knots"), grid.Count(), grid.CountOf("Speed IAS in knots"), grid.Sum("Cost Total $"),
			grid.Avg("Speed IAS in knots"), grid.Min("Flight Date"), grid.Max("Aircraft Airline Operator"),
		},
		sql: `select "Speed IAS in knots", count(*), count("Speed IAS in knots"), sum("Cost Total $"),
				float(avg("Speed IAS in knots")), min("Flight Date"), max("Aircraft Airline Operator")
			from strikes where "Phase of flight" in ('Taxi', 'Parked', 'Descent')
			group by 1 order by 1`,
	},
	{
		asks: "groups by two columns, kept if they are large or expensive, in an order of their own",
		parts: []grid.Aggregation{
			grid.GroupBy("Origin State", "Phase of flight"),
			grid.Count().As("n"), grid.Sum("Cost Total $").As("cost"), grid.Avg("Cost Total $").As("mean"),
			grid.Avg("Speed IAS in knots").As("speed"), grid.Max("Cost Repair"),
			grid.Having(`n >= ? and speed > 120 or cost / n > 1000 and "Phase of flight" <> 'Climb'`, 8),
			grid.OrderBy("-mean", "Phase of flight", "-n", "Origin State"), grid.Limit(40),
		},
		sql: `select "Origin State", "Phase of flight", count(*) as n, sum("Cost Total $") as cost,
				float(avg("Cost Total $")), float(avg("Speed IAS in knots")), max("Cost Repair")
			from strikes group by 1, 2
			having n >= 8 and avg("Speed IAS in knots") > 120 or cost / n > 1000 and "Phase of flight" <> 'Climb'
			order by avg("Cost Total $") desc, 2, 3 desc, 1 limit 40`,
	},
	{
		asks:  "distinct values in groups",
		where: `"Speed IAS in knots" <> 0 or "Cost Total $" > 0`,
		parts: []grid.Aggregation{
			grid.GroupBy("Origin State"), grid.Count(), grid.Distinct("Wildlife Species").As("species"),
			grid.Distinct("Flight Date").As("days"), grid.Distinct("Speed IAS in knots").As("speeds"), grid.Distinct("Airport Name"),
			grid.Having("species > 3 and days < count or speeds = 1"), grid.OrderBy("-species", "-speeds"),
		},
		sql: `select "Origin State", count(*), count(distinct "Wildlife Species") as species,
				count(distinct "Flight Date") as days, count(distinct "Speed IAS in knots") as speeds,
				count(distinct "Airport Name")
			from strikes where "Speed IAS in knots" <> 0 or "Cost Total $" > 0
			group by 1 having species > 3 and days < count(*) or speeds = 1
			order by species desc, speeds desc, 1`,
	},
	{
		asks:  "the five fastest strikes of each phase, of equal ones those that come first in the file",
		where: `"Wildlife Size" <> 'Small'`,
		parts: []grid.Aggregation{grid.GroupBy("Phase of flight"), grid.Top(5, "Speed IAS in knots")},
		ranked: []string{
			"Flight Date", "Airport Name", "Aircraft Make Model", "Wildlife Species", "Cost Total $",
		},
		sql: `with places as (
				select *, row_number() over (
					partition by "Phase of flight" order by "Speed IAS in knots" desc, rowid
				) as place
				from strikes where "Wildlife Size" <> 'Small' and "Speed IAS in knots" is not null
			)
			select "Phase of flight", place, "Speed IAS in knots",
				"Flight Date", "Airport Name", "Aircraft Make Model", "Wildlife Species", "Cost Total $"
			from places where place <= 5 order by 1, 2`,
	},
	{
		asks: "all of it",
		where: `("Flight Date" between :first and :last or "Flight Date" > :late and not "Time of day" in ('Dawn', 'Dusk'))
			and not ("Aircraft Airline Operator" = 'MILITARY' or "Aircraft Make Model" prefix 'A-')
			and ("Cost Total $" * 1.0 / "Speed IAS in knots" > 0.5 or "Cost Total $" / "Speed IAS in knots" is null
				or not ("Speed IAS in knots" + 10 > 150 and "Wildlife Species" prefix 'Unknown'))`,
		args: []any{map[string]any{
			"first": day(1991, time.March, 1), "last": day(1996, time.February, 29), "late": day(1998, time.December, 31),
		}},
		parts: []grid.Aggregation{
			grid.GroupBy("Wildlife Size", "Speed IAS in knots"),
			grid.Count().As("n"), grid.CountOf("Speed IAS in knots").As("known"), grid.Sum("Cost Total $").As("cost"),
			grid.Avg("Cost Total $").As("mean"), grid.Min("Cost Repair").As("least"), grid.Max("Flight Date").As("latest"),
			grid.Distinct("Aircraft Airline Operator").As("operators"),
			grid.Having(`(known = 0 or cost >= n * ? and operators > 1 or not mean < 2000) and latest > ts '1992-06-01T00:00:00Z'`, 10),
			grid.OrderBy("-cost", "Speed IAS in knots", "-Wildlife Size"), grid.Limit(25),
		},
		sql: `select "Wildlife Size", "Speed IAS in knots", count(*) as n, count("Speed IAS in knots") as known,
				sum("Cost Total $") as cost, float(avg("Cost Total $")), min("Cost Repair"), max("Flight Date") as latest,
				count(distinct "Aircraft Airline Operator") as operators
			from strikes
			where ("Flight Date" between '1991-03-01' and '1996-02-29'
					or "Flight Date" > '1998-12-31' and not "Time of day" in ('Dawn', 'Dusk'))
				and not ("Aircraft Airline Operator" = 'MILITARY' or substr("Aircraft Make Model", 1, 2) = 'A-')
				and ("Cost Total $" * 1.0 / "Speed IAS in knots" > 0.5 or "Cost Total $" / "Speed IAS in knots" is null
					or not ("Speed IAS in knots" + 10 > 150 and substr("Wildlife Species", 1, 7) = 'Unknown'))
			group by 1, 2
			having (known = 0 or cost >= n * 10 and operators > 1 or not avg("Cost Total $") < 2000) and latest > '1992-06-01'
			order by cost desc, 2, 1 desc limit 25`,
	},
}
