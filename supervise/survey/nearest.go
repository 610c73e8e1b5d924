package survey

// Nearest is the one of names that word was probably meant to be, "" where none is near.
func Nearest(word string, names []string) (near string) {
	best := max(1, (len(word)+1)/3) + 1
	for _, name := range names {
		if d := distance(word, name); d < best {
			best, near = d, name
		}
	}
	return near
}

// distance is how many letters have to be changed, added, left out or exchanged with
// their neighbours to make a into b.
func distance(a, b string) int {
	if len(a) > 64 || len(b) > 64 {
		return 64
	}
	var rows [3][65]int
	for j := range len(b) + 1 {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		row, above, before := &rows[i%3], &rows[(i+2)%3], &rows[(i+1)%3]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(above[j]+1, row[j-1]+1, above[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
	}
	return rows[len(a)%3][len(b)]
}
