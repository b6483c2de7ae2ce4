package presence

// journal holds the newest changes of the picture, whose versions follow one
// another without a hole, for those who follow it. It is not safe for concurrent
// use; readers do not change it.
type journal struct {
	changes []change // change n lies at n-1 modulo most
	most    int
	newest  uint64
}

func newJournal(o Options) *journal { return &journal{most: o.WatchBuffer} }

func (j *journal) add(c change) {
	j.newest = c.version
	if len(j.changes) < j.most {
		j.changes = append(j.changes, c)
	} else {
		j.changes[j.at(c.version)] = c
	}
}

func (j *journal) at(version uint64) int { return int((version - 1) % uint64(j.most)) }

// has says whether all changes after a version are here.
func (j *journal) has(version uint64) bool {
	return version <= j.newest && j.newest-version <= uint64(len(j.changes))
}

// after calls f with the changes after a version until f returns false. All of
// them must be here.
func (j *journal) after(version uint64, f func(change) bool) {
	for version++; version <= j.newest; version++ {
		if !f(j.changes[j.at(version)]) {
			return
		}
	}
}
