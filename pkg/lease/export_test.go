package lease

// SetClock makes everything that reads the elector's clock wait for still.
func (e *Elector) SetClock(still func()) {
	inner := e.clock
	e.clock = func() instant {
		still()
		return inner()
	}
}

// Changes are the outcomes that a term can have.
func Changes() (all []string) {
	for _, c := range changes() {
		all = append(all, string(c))
	}
	return all
}
