"""What backends share: requests over the wire, credentials, marks, documents rewritten in place. Knows no runner."""
