# cmake -DINPUT=FILE -DOUTPUT=FILE -P EmbedFile.cmake: the bytes of a file as the
# elements of a C array. (Not #embed: ccache does not see what that reads.)
file(READ ${INPUT} bytes HEX)
string(REGEX REPLACE "(..)" "char(0x\\1)," bytes "${bytes}")
string(REGEX REPLACE "((char\\(0x..\\),)(char\\(0x..\\),)(char\\(0x..\\),)(char\\(0x..\\),)(char\\(0x..\\),))" "\\1\n" bytes "${bytes}")
file(WRITE ${OUTPUT} "${bytes}")
