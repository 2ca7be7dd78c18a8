module llmtap.test/plain

go 1.18
