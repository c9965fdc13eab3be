package postgres

import (
	"fmt"
	"strings"
)

// statements are the texts of the calls to the writer's own tables.
type statements struct {
	schema                                                                      string
	sink                                                                        string
	places, markNew, markRead, markFence, markMove, markBuild, markReplace      string
	spaces, spacePut, spaceDrop, spacesDrop                                     string
	stagePut, stageDrop, stagePage                                              string
	letters, letterList, letterPut, letterTell, letterDrop, lettersDrop, settle string
	journal                                                                     string
	absentShared                                                                string
	positions, position                                                         string
}

func newStatements(schema string, sink int16) statements {
	fill := strings.NewReplacer("{schema}", schema, "{sink}", fmt.Sprintf("%d::smallint", sink)).Replace
	return statements{
		schema: schema, sink: fill("{sink}"),
		places:  fill("SELECT DISTINCT name, relation FROM {schema}.space WHERE sink = {sink}"),
		markNew: fill(`INSERT INTO {schema}.watermark VALUES ({sink}, $1, '', 0, 0, 0, 0, '', 0, 0) ON CONFLICT DO NOTHING`),
		markRead: fill(`SELECT partition, history, epoch, seq, clock, build, build_history, build_epoch, settled FROM {schema}.watermark
			WHERE sink = {sink} AND partition = ANY ($1) ORDER BY partition FOR NO KEY UPDATE`),
		markFence: fill(`UPDATE {schema}.watermark SET history = $2, epoch = $3 WHERE sink = {sink} AND partition = $1`),
		markMove: fill(`UPDATE {schema}.watermark w SET epoch = x.epoch, seq = x.seq, clock = x.clock
			FROM unnest($1::smallint[], $2::bytea[], $3::bigint[], $4::bigint[], $5::bigint[]) AS x(partition, history, epoch, seq, clock)
			WHERE w.sink = {sink} AND w.partition = x.partition AND w.history = x.history AND w.epoch <= x.epoch`),
		markBuild: fill(`UPDATE {schema}.watermark SET build = $2, build_history = $3, build_epoch = $4 WHERE sink = {sink} AND partition = $1`),
		markReplace: fill(`UPDATE {schema}.watermark SET history = $2, epoch = $3, seq = $4, clock = $5, build_history = '', build_epoch = 0, settled = $6
			WHERE sink = {sink} AND partition = $1`),
		spaces: fill(`SELECT partition, id, name, relation, definition FROM {schema}.space WHERE sink = {sink} AND partition = ANY ($1) ORDER BY partition, id`),
		spacePut: fill(`INSERT INTO {schema}.space (sink, partition, id, name, relation, definition) VALUES ({sink}, $1, $2, $3, $4, $5)
			ON CONFLICT (sink, partition, id) DO UPDATE SET name = EXCLUDED.name, relation = EXCLUDED.relation, definition = EXCLUDED.definition`),
		spaceDrop:  fill(`DELETE FROM {schema}.space WHERE sink = {sink} AND partition = $1 AND id = $2`),
		spacesDrop: fill(`DELETE FROM {schema}.space WHERE sink = {sink} AND partition = $1`),
		stagePut: fill(`INSERT INTO {schema}.stage (sink, partition, build, space, key, key_text, entry)
			SELECT {sink}, $1, $2, $3, x.* FROM unnest($4::bytea[], $5::text[], $6::bytea[]) AS x`),
		stageDrop: fill(`DELETE FROM {schema}.stage WHERE sink = {sink} AND partition = $1`),
		stagePage: fill(`SELECT space, key, entry FROM {schema}.stage WHERE sink = {sink} AND partition = $1 AND build = $2
			AND (space, key) > ($3, $4) ORDER BY space, key LIMIT $5`),
		positions: fill(`SELECT partition, history, epoch, seq, clock FROM {schema}.watermark WHERE sink = {sink} AND history <> '' ORDER BY partition`),
		position:  fill(`SELECT partition, history, epoch, seq, clock FROM {schema}.watermark WHERE sink = {sink} AND history <> '' AND partition = $1`),
		absentShared: fill(`DELETE FROM {schema}.entry t WHERE t.sink = {sink} AND t.partition = $1 AND NOT EXISTS (
			SELECT FROM {schema}.stage s WHERE s.sink = {sink} AND s.partition = $1 AND s.build = $2 AND s.space = t.space AND s.key = t.key)`),
		letters: fill(`SELECT seq, parked, reason, change, at FROM {schema}.dead_letter WHERE sink = {sink} AND partition = $1 ORDER BY seq`),
		letterList: fill(`SELECT partition, seq, parked, reason, change, at FROM {schema}.dead_letter
			WHERE sink = {sink} AND (partition, seq) > ($1, $2) ORDER BY partition, seq LIMIT $3`),
		letterPut: fill(`INSERT INTO {schema}.dead_letter (sink, partition, seq, parked, reason, space, key, change, at)
			VALUES ({sink}, $1, $2, $3, $4, $5, $6, $7, $8)`),
		letterTell:  fill(`UPDATE {schema}.dead_letter SET parked = false, reason = $3 WHERE sink = {sink} AND partition = $1 AND seq = $2`),
		letterDrop:  fill(`DELETE FROM {schema}.dead_letter WHERE sink = {sink} AND partition = $1 AND seq = ANY ($2)`),
		lettersDrop: fill(`DELETE FROM {schema}.dead_letter WHERE sink = {sink} AND partition = $1`),
		settle:      fill(`UPDATE {schema}.watermark SET settled = settled + 1 WHERE sink = {sink} AND partition = $1`),
		journal: fill(`INSERT INTO {schema}.journal (sink, partition, history, seq, op, space, key, value)
			SELECT {sink}, x.* FROM unnest($1::smallint[], $2::bytea[], $3::bigint[], $4::smallint[], $5::integer[], $6::bytea[], $7::bytea[]) AS x`),
	}
}
