// Package check holds a deployment of Parley to what PROTOCOL.md, section 5,
// promises: many clients write and read in many rooms through several
// gateways, everything that is acknowledged and delivered is recorded, and
// then the record alone is verified.
//
//   - No acknowledged message is missing, for any member or from the log.
//   - Nothing is delivered twice or stored twice.
//   - All members see one order, that of seq.
//   - A live message's prev is never newer than what came before it.
//   - Nothing is delivered that the log lacks.
//   - A message sent again under its id has the same seq and is a duplicate.
//   - Who was away for less than the log keeps is told that nothing is missing.
//
// It speaks the wire protocol as any client would and knows nothing of what is
// behind the gateways, so it can be pointed at any deployment, while it is
// well or while somebody breaks it (Options.During). Its clients do what an
// SDK should: messages keep their id when they are sent again, connections
// come back on another gateway with the delay that the close code asks for,
// and a resume names the place that was reached.
//
// A run of a million acknowledged messages with five readers each takes about
// 500 MB, for the record is kept in memory.
package check
