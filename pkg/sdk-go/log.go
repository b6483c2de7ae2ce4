package parley

// Position is a place in a room's log. Everything up to it has been given to the
// application; [JoinOptions.After] goes on from there, in another process, too.
type Position struct {
	Seq   int64  `json:"seq"`
	Epoch string `json:"epoch"`
}

// answer is what a room-joined or a resume says of a room.
type answer struct {
	recovered   bool
	seq         int64
	epoch       string
	oldest      int64
	memberCount int64
}

// log is where one room's log has got to here: what comes next, what was seen
// already, what is missing. It knows no sockets, timers or listeners.
type log struct {
	// at is up to where everything was given; nil before the first page.
	at   *Position
	past *past
}

// past is a page of the log that is expected: from where it was asked for, and
// where the log stood then.
type past struct {
	from      *Position
	recovered bool
	seq       int64
}

// begin begins the pages that follow an answer to what was asked for from a
// place. It gives the gap that there is.
func (l *log) begin(a answer, from *Position) *Gap {
	l.past = &past{from, a.recovered, a.seq}
	another := l.at != nil && l.at.Epoch != "" && l.at.Epoch != a.epoch
	if l.at == nil || another {
		l.at = &Position{Epoch: a.epoch}
	} else {
		l.at = &Position{Seq: l.at.Seq, Epoch: a.epoch}
	}
	if from == nil || a.recovered {
		return nil
	}
	return &Gap{OldestSeq: a.oldest, OtherLog: another}
}

// behind tells whether pages are expected, so that nothing live is due yet.
func (l *log) behind() bool { return l.past != nil }

// page is told of each page's end. It gives what the pages amounted to after the
// last one, and nil before.
func (l *log) page(more bool) *past {
	p := l.past
	if p == nil || p.recovered && more {
		return nil
	}
	l.past = nil
	return p
}

// interrupt forgets the pages that were under way: the connection is gone.
func (l *log) interrupt() {
	if p := l.past; p != nil && p.from == nil && l.at != nil && l.at.Seq == 0 {
		l.at = nil // the first page never came: the newest are asked for again
	}
	l.past = nil
}

// hole tells whether something is missing in front of a live entry.
func (l *log) hole(prev int64) bool { return prev > l.seq() }

func (l *log) seq() int64 {
	if l.at == nil {
		return 0
	}
	return l.at.Seq
}

func (l *log) advance(seq int64) {
	if l.at != nil && seq > l.at.Seq {
		l.at = &Position{Seq: seq, Epoch: l.at.Epoch}
	}
}
