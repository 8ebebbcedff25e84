"""Passwords of ten characters and more that everybody tries first, and the words they are made of.

Taken down in lower case, with look-alike characters written as letters and digits at the ends cut
off: `P@ssw0rd2024!` is found as `password`.
"""

from __future__ import annotations

_PASSWORDS = """
0123456789 01234567890 1029384756 1111111111 1122334455 1212121212 123123123123 1231231231
12344321123 123456123456 1234512345 12345678900 1234567890 12345678910 12345678901 123456789a
123456789q 1234567891 12345qwert 12345qwerty 1234qwer1234 123qwe123qwe 147258369a 159357159357
1q2w3e4r5t 1q2w3e4r5t6y 1qaz2wsx3edc 1qazxsw23edc 1qaz1qaz1qaz 2wsx3edc4rfv 9876543210 987654321a
abc1234567 abcd123456 abcd1234abcd abcdefg123 abcdefgh12 abcdefghij abcdefghijk abcdefghijkl
asdf1234asdf asdfasdfasdf asdfgh1234 asdfghjkl1 asdfghjkl asdfghjkl123 asdfqwer1234 azertyuiop
q1w2e3r4t5 q1w2e3r4t5y6 qazwsx1234 qazwsxedc1 qazwsxedc123 qazwsxedcrfv qweasdzxc1 qweasdzxc123
qweqweqwe1 qwer1234qwer qwerasdfzxcv qwert12345 qwerty1234 qwerty12345 qwerty123456 qwerty1234567
qwertyqwerty qwertyuiop qwertyuiop1 qwertyuiop123 qwertyuiopasdfghjkl zaq12wsxcde3 zaq1zaq1zaq1
zxcvbnm123 zxcvbnmasdfghjkl zxcvbnm1234 zxcvbnmzxcvbnm a1b2c3d4e5 a1b2c3d4e5f6 aa12345678
aaaaaaaaaa correcthorsebatterystaple thisisapassword mypassword passwordpassword passw0rd123
pass1234567 password1234 password12345 letmeinplease letmeinnow iloveyou123 iloveyou1234
iloveyouforever iloveyousomuch welcome1234 welcome12345 changeme123 changemenow administrator
adminadmin admin12345 admin123456 administrator1 rootroot12 superadmin superuser trustno1trustno1
football123 baseball123 basketball basketball1 liverpool1 manchester manchesterunited chelsea123
arsenal123 barcelona1 realmadrid juventus10 princess123 sunshine123 superman123 batman12345
spiderman1 pokemon123 starwars123 michael123 jennifer123 jonathan123 alexander1 elizabeth1
christopher christian1 christina1 nicholas123 samantha123 stephanie1 charlotte1 blink182182
metallica1 slipknot666 greenday123 motherfucker fuckyou123 fuckyou1234 asshole123 onetwothree
threefour whatever123 computer123 internet123 november11 september1 december12 bitcoin123
bitcoin1234 ethereum123 cryptocurrency tothemoon123 hodlhodlhodl coinbase123 tradingbot
tradingbot1 testpassword test123456 testtest123 testing1234 guestguest default123 qwerty!@#$
qwertz1234 yuiophjkl1 ashleyashley jordan2323 mustang123 corvette123 ferrari123 porsche911
"""

_WORDS = """
abc abcd abcdef admin administrator adminadmin arsenal asdf asdfgh asdfghjkl azerty azertyuiop
barcelona baseball basketball batman bitcoin changeme chelsea coinbase computer crypto default
dragon ethereum football guest hello iloveyou internet letmein liverpool login master monkey nija
pass password passwort passw passwordpassword princess qaz qazwsx qazwsxedc qwe qwer qwert qwerty
qwertyqwerty qwertyuiop qwertz root secret shadow starwars summer winter spring autumn sunshine
superman superuser test testing testtest trading trader trustno user welcome whatever zxcv zxcvbn
zxcvbnm
"""

COMMON_PASSWORDS = frozenset(_PASSWORDS.split())
"""Whole passwords that are refused."""

COMMON_WORDS = frozenset(_WORDS.split())
"""Words that are still refused when digits and punctuation are hung on them."""

LOOKALIKES = str.maketrans({"@": "a", "$": "s", "0": "o", "1": "i", "3": "e", "5": "s", "7": "t"})
"""Characters that people write for letters."""
