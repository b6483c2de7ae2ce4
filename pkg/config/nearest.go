package config

import (
	"slices"
	"strings"
)

// spelled writes a name as a file's keys are, for who has taken that of the variable or of a Go field.
func spelled(name string) string {
	name = strings.ToLower(strings.ReplaceAll(name, "_", "-"))
	return strings.TrimPrefix(name, "parley-")
}

// suggest completes an error about an unknown name with the known name nearest to it.
func suggest(name string, known []string) string {
	best, distance := "", 0
	for _, k := range known {
		if d := editDistance(name, k); best == "" || d < distance {
			best, distance = k, d
		}
	}
	switch {
	case best == "":
		return ""
	case distance <= max(2, len(name)/3):
		return ": did you mean " + best + "?"
	default:
		// Too far to be a misspelling; still a beginning for whoever looks for the right name.
		return ": the nearest known one is " + best + ", --help lists all"
	}
}

// editDistance counts the insertions, deletions, replacements and swaps of neighbours that turn a into b, none of
// them overlapping ("optimal string alignment").
func editDistance(a, b string) int {
	before, previous := make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range previous {
		previous[j] = j
	}
	current := slices.Clone(previous)
	for i := 1; i <= len(a); i++ {
		current[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			current[j] = min(previous[j]+1, current[j-1]+1, previous[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				current[j] = min(current[j], before[j-2]+1)
			}
		}
		before, previous, current = previous, current, before
	}
	return previous[len(b)]
}
