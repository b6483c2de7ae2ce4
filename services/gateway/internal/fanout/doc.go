// Package fanout is a gateway's rooms: who of this gateway's sessions is in
// which room, what was delivered there last, and the newest messages. It turns
// what the bus brings into frames, encodes each once, and hands it to every
// member.
//
// # Who owns what
//
// A room belongs to one worker of the bus's feed, and only that worker's
// goroutine touches it, so a room needs no lock. What takes time, reading the
// log, happens in goroutines of the hub that hand their findings back to the
// worker as tasks.
//
// What is held in memory is bounded: the newest entries by room (recent) and
// over all rooms (memory), what waits for a reading by room (maxHeld).
//
// # What is promised
//
// Every member gets every stored message that comes after the place at which
// it joined, in the order of seq and once:
//
//   - A message is delivered only when its predecessor was (room.last). A
//     message whose predecessor is newer than that waits until the log was read.
//   - A member is added in the same step that settles its history, so nothing
//     falls between the two and nothing is in both.
//   - What the bus may have lost shows as a hole, in the log's tail after a
//     reconnect, or when rooms are compared with the log now and then, and is
//     read from the log.
//   - A joiner is told that it has recovered only when nothing can have been
//     dropped by the log in between; memory and the log are judged by the same
//     rule (holdAll).
//   - Who may not be in a room any more is out of it, and who may not write
//     there is known not to, as soon as the registry's word comes (rights.go).
//   - Where the log has dropped entries, for its retention or their age, before
//     this gateway could read them, no member is shown anything behind them: all
//     are told (Member.Missed), and come back with their place (gap.go).
package fanout
