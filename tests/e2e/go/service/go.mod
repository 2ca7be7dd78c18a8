module llmtap.test/service

go 1.18
