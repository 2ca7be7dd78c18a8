module fetch

go 1.17
