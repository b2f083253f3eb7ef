"""JPEG 2000 streams of YCbCr without a component transform, which no library of ours writes: chroma reduced, and HTJ2K.

Made by opj_compress (OpenJPEG 2.5, "part1") and ojph_compress (OpenJPH 0.9, "ht"), lossless, from `quarters()` in full-range
YCbCr, of which every second (4:2:2: column; 4:4:0: row; 4:2:0: both), or fourth column (4:1:1) of chroma was kept.
"""

from __future__ import annotations

import base64

import numpy as np
from numpy.typing import NDArray


def quarters(height: int = 32, width: int = 32) -> NDArray[np.uint8]:
    """Four colours, RGB, that meet at row and column 16."""
    image = np.empty((height, width, 3), np.uint8)
    image[:16, :16], image[:16, 16:] = (200, 121, 160), (30, 60, 220)
    image[16:, :16], image[16:, 16:] = (250, 250, 240), (90, 180, 40)
    return image


_TEXT = {
    "part1 422 32x32": (
        "|4;u>051Rl0000W0000W00000000000000W0000W000000000000RdB0S5vB2Lb{AQUDA9000310t5sA0smY83P3<eNKi;fQ2%5AB>(|Ka%Ew3Wn"
        ">^?c_2@4Wo}APMMofZWpZ<AZ*CwmE;TMN|BwI*000000bl?D|C8T=z)8z>SFBrrbw;)Uff=B&gycZB6)I}b<||H1NBGdp8Bzo^H%Qn?mj7L!j@&#"
        "<(8{EpV$3qxeb2OT9P;xyDVM8*DtNPi84Y-r5ZT&zK3O)ItBDwP$J8(r|3=?S<W+>WF*fA#`XR`;`W}s=yis<?+8qz5HUs1eN%oOa)E`ZGhs%7o("
        "tiNdz3xPQm6DrsLT$Gs-B4M7!|D%@v?>p%7#Ax?teF;Bz=a#YNP#<lBo8^}F$fTg7sDEvg@yks!|Drz=MMq$1Q*v)@~Y0b8huk416wO;>YG0q>7`"
        "@C>J5j~8v*hJHl9J$);P^cW#J^CUuSBn;m)E|hA#+c$Q*+IJP*U_50A7i52z3!ZSkK;HY#1SWGuq}6Mt7qIZq3B;?qtYD^2BOAH(VkgXa+e@&h6n"
        "^U2U@sW_Yee?6m@Ch3SLKTR}5|Je"
    ),
    "part1 420 32x32": (
        "|4;u>051Rl0000W0000W00000000000000W0000W000000000000RdB0S5vC2Lb~BQUDA9000310t5sA0smY83P3<eNKi;fQ2%5AB>(|Ka%Ew3Wn"
        ">^?c_2@4Wo}APMMofZWpZ<AZ*CwmE;TMN|BwI*000000W|;t|C8T=z)8z>SFBrrbw;)Uff=B&gycZB6)I}b<||H1NBGdp8Bzo^H%Qn?mj7L!j@&#"
        "<(8{EpV$3qxeb2N+9M!>~36_fuof3v=UI$5mpU2c56N?jq``6C)V(=u;NBA$t+8qz5HUs1eN%oOa)E`ZGhs%7o(tiNdz3xPQm6DrsLT$Gs-B4M7!"
        "|Dl-v?dRz7#9)N1;e}}-OwQ1VFaF5Mi~_r1Zt24Kf~$>gXawa@&p&XZart+qkj(<v+O4+7O-rO!|Dx()Efcv1U8;Q)Ydr7NoC<ApkHTds^QL}RE9"
        "4IXviFb|2z-F>IsjuDi5d-A#DRtA4qov`7S~+<}SN`5EykN-D1DP>IZ}84*~K6A{hyM(ArA_dfHiYa6=?4P5;>"
    ),
    "part1 440 32x32": (
        "|4;u>051Rl0000W0000W00000000000000W0000W000000000000RdB0S5sB2LS^AQUDA9000310t5sA0smY83P3<eNKi;fQ2%5AB>(|Ka%Ew3Wn"
        ">^?c_2@4Wo}APMMofZWpZ<AZ*CwmE;TMN|BwI*000000bc+C|C8T=z)8z>SFBrrbw;)Uff=B&gycZB6)I}b<||H1NBGdp8Bzo^H%Qn?mj7L!j@&#"
        "<(8{EpV$3qxeb2OTCm080VHAx7KWQUnIz0a;6prR~IsFR(?qSK_$J8<tj6HhTc&i}jeS}QAz~;0mZ(h}^@hO8d$J!kas5S%S3Q6{nQq&(!d56n<x"
        "6*$A)V=ORewC7&azbslB;8P1f5YktkF+`us2Cwrn$%#jBj8ypAK9D++SQs`Xs0V(3?N0PScgx;>Ij4969MuBA^&l!6z%5S4<@C5C^wBMzaa6cS;O"
        "iLhtwMZ@&q=XLDbeb%}Hh9B%ohsYO3MRqEv=22x!P0g8w`Z!|Dl-v_=o86gBa=JeQF7xxqrmDgQZUc%^y*kDD$(dH;VoWzYYA!|Diw=NAF;12&z#"
        "D)M<nzXOAyh_%=Te2v+2IIr0M*#"
    ),
    "ht 444 32x32": (
        "|4;u>053oQ0000W0000W00000000000000W0000W000000000000RdB0S5sA2LS>9Pyh%30ssI21OHM03;+TE0RRF71V91*TmT9nP*_-4P*7O^WB"
        "?Wb0Z(vcZc0!{AXa5^ATTaDE-)_tkN^q*00002V*mmFlfW0F00>19Lf$vceb;qeBL*>)@x^BNo~R${2OvE#9hlymf~0&n8j^+t4i689hlhYbLSkS"
        "50Qe5EoLm4Pk$MJEpOD5RF|h%_7kpBclmGxK6$*ty$<+!+A^`xYs3<53nk0dQK+w6C=B0Qkp3EePAXL@+wr$(~2d`Wg0wenM!EgWr8!@l}z!!Rk("
        "P$V3hTWU<z4sbWBV<4rc}4ks>#Y<(0Tci#=^G6Ha325wrQUZKhG7`~4_U)h6Nb9SthphU<T0=TzzbdgTTlXU7?xmEa?t+L@O;z!zB--M?x#c0f_n"
        "h(_noI@SrkQ448t(~?**-A1R#6%5P|Hy0K@aZ5;#@>zzbRcTF?Th*9BZFqDXj9SX;`z2UEDNr$f+!djL!p@8NKgjYuT&?**NkgdjcVB(%H$5AgHA"
        "2^vNaSOCBaS^!#50&s@$26G&)Sq#RE@xB4n?klO|(1LparZLRcF~<1s0W9S`+5iFUy8!a@z!ErC0KgX90d!CTV2<NBj^ik*>$<M%y664{IZjiQ<v"
        "C7MfP#Mj<8d6vaXgP<7=~dO{{K(F002S<zhMX-{e&QU_7H*WwE_QIzz9|Vz!uyAZ$JrvP17_@({vyVA%qbA=l%evDavrAIZji6f`0%iNz(KRg+if"
        "FDE|LXzyJV31K+U-4|&Ng_DSrs0smXT09F9N7SsW4KncL!d+)t3n4%Cu2=V9s0Zvnt;YvA9Q-A`00HP2=2w^|~`2SD901Ef*Pj-L+d-ebU?6Lv=|"
        "69NaRsjFm"
    ),
    "ht 422 32x32": (
        "|4;u>053oQ0000W0000W00000000000000W0000W000000000000RdB0S5vB2Lb{APyh%30ssI21OHM03;+TE0RRF71V91*TmT9nP*_-4P*7O^WB"
        "?Wb0Z(vcZc0!{AXa5^ATTaDE-)_tkN^q*00001`2Yd`lfW0F00>19Lf$vceb;qeBL*>)@x^BNo~R${2OvE#9hlymf~0&n8j^+t4i689hlhYbLSkS"
        "50Qe5EoLm4Pk$MJEpOD5RF|h%_7e>+y0H9JS9Ek(~q@o5A0zv0mnkR`MRMq?b2VRD{^Z_xs0KgYQh7pV1o3jDMl2?@96aXse8w>y_^}fUK3EG{gF"
        "37RD0Kf}g09#N3a2S?gRC3V%((ruK{JuJ!)b6K4(1Lpa@AsXjWmyzOQ4GT{{_h2?X9OU7_7H*Wy#T}Wz!ErC0Kf}U09HT>kk<uVE22nvP*_{a1<B"
        "l7lk?Jf04(0K5&78f2qt%T01xokAs8@5R{+2ZQUF!J34n(226G&)Sq#RE@m!t7xj19ec>pG}$N1O?;2^ZO0P@%qf>i*(7Tf`JPy%3%<2a7vD5~qa"
        "uIswz{slQsQ<UX7PE&w_e*oig9LI4yk6{>wVHp1ZPrv{GLI=NL2p;`}Aba)@f$X&b|69NaRsg^j)B$L~34l%0G)>cVAPgad5dOcwrzy&Cr8!PhfP"
        "#JiDow9YDE|HU00baC=Onbd0RB7x09F9N7R&)(04Cmh@4YXWq7Xs|@xQ@NQ<ULKIZji60)7CZ5C(+(_y7ex+5iFUy8!<FJP1_)|Je"
    ),
    "ht 420 32x32": (
        "|4;u>053oQ0000W0000W00000000000000W0000W000000000000RdB0S5vC2Lb~BPyh%30ssI21OHM03;+TE0RRF71V91*TmT9nP*_-4P*7O^WB"
        "?Wb0Z(vcZc0!{AXa5^ATTaDE-)_tkN^q*00001ssI81lfW0F00>19Lf$vceb;qeBL*>)@x^BNo~R${2OvE#9hlymf~0&n8j^+t4i689hlhYbLSkS"
        "50Qe5EoLm4Pk$MJEpOD5RF|h%_7Lf7`0HmS@5&}WzTABbf0Wr1!z!s1O6ieQiF9m=~`Ub-jw8*ix0Kf}g09#N3a2S?gRC3V%((ruK{JuJ!)b6K4("
        "1Lpa@AsXjWmyzOQ4GT{{_h2?X9OU7_7H*Wy#T}Wz!ErC0Kf{!0apMj0M`mhcu@QR;`7pW04(0K5%~`A2Of3+5AXnld~enOzzVnlQvfCg^R8J8PAF"
        "s2b^s=`$M_M<CshFQ04E#O0KgX90d!CTV2<NBj^ik*>$<M%y664{IZjiQ<vC7MfP#Mj<8d6vaXgP<7=~dO{{K(F002S<zhMX-{e&QU_7H*WwE_QI"
        "zz9|Vz!mTXp#UXK({vyV;l2Q;3R8fBc>pR+uTUud?*IfKJ?A8}x&ZUQ0963M74QXg0GQtUf+-5|z5z}YqksZ=0HP2Egzo?aJ=y>P?79H{^S}sI0R"
        "Pz"
    ),
    "ht 420 29x31": (
        "|4;u>053oQ0000V0000T00000000000000V0000T000000000000RdB0S5vC2Lb~BPyh%30ssI21OHM03;+TE0RRF71V91*TmT9nP*_-4P*7O^WB"
        "?Wb0Z(vcZc0!{AXa5^ATTaDE-)_tkN^q*00001s{jH2lfW0F00>19Lf$vceb;qeBL*>)@x^BNo~R${2OvE#9hlymf~0&n8j^+t4i689hlhYbLSkS"
        "50Qe5EoLm4Pk$MJEpOD5RF|h%_7Lf7`0HmS@5&}WzTABbf0Wr1!z!s1O6ieQiF9m=~`Ub-jw8*ix0Kf}g09#N3a2S?gRC3V%((ruK{JuJ!)b6K4("
        "1Lpa@AsXjWmyzOQ4GT{{_h2?X9OU7_7H*Wy#T}Wz!ErC0Kf{!0apMj0M`mhcu@QR;`7pW04(0K5%~`A2Of3+5AXnld~enOzzVnlQvfCg^R8J8PAF"
        "s2b^s=`$M_M<CshFQ04E#O0KgXH0d!CTV2<NBj^ik*>$<M%{^$Mx5gATXl;t^2Q-FeS0poET$8kK5VHk#C82<lHfB*nO2ftwm9{q$Md-f24?6m>^"
        "Tfhib0KgUS1)%^XP1AHB4B@^2rwUVmf_VTcO|MWW{_g+;AU)?Kw7LNEzyMVMz!mTXbO4y%`+_M7@xB306r+Fwc>tmi288bb1wGmT0qnW}{`0^HRR"
        "I6l"
    ),
    "ht 440 32x32": (
        "|4;u>053oQ0000W0000W00000000000000W0000W000000000000RdB0S5sB2LS^APyh%30ssI21OHM03;+TE0RRF71V91*TmT9nP*_-4P*7O^WB"
        "?Wb0Z(vcZc0!{AXa5^ATTaDE-)_tkN^q*00001^Z)_>lfW0F00>19Lf$vceb;qeBL*>)@x^BNo~R${2OvE#9hlymf~0&n8j^+t4i689hlhYbLSkS"
        "50Qe5EoLm4Pk$MJEpOD5RF|h%_7Wi_toB%*7Dhi5%CP^S65Ol7kc`06s07P&A0~;~90KgYS2Gj@{5JujZ@2$5|00mG0sHAT&{KG%|0)lYSA(rGZx"
        "&XinUI1HA0&p0XU{rF@{?hP#)BL_Voz(89L(qbI0Ppvmr)60bMNtgHF#hiat!D%vd-f24?7aZP^S}}~Rsg^X*a2!l3Xs<dNqA8FvBg8sf_DH+7Vq"
        "J3l8s0t@&%onfB-4SCt3gx@UTeGY$MkIzzWC#Xg~>o2J^0246t!y(1LdWrZLRcF~;~HC7jAhB&S&b^01M!)d0X2+yQh@0$`5gIF92es_VM0>$>Ou"
        "1vySrl;t^2Q-Feh0ON5S$8kK5VHk#C82<lHzyJV32ftwm9{q$Md-f24?6m>^Tfhib0KgUS1-k$yP1AHB4B_YarwUVmf_VTcNz(KRg+ifFDE|Av00"
        "2S*-?0b}dC4vIN$j!#{d@obRsg^i@CCB~Cf@skDGKrD`A!t0fC6~{q7Xs|VL$-*`@jGS_w7%1fB<{;00Hc=0sj4b2vq?8*#"
    ),
    "ht 411 32x32": (
        "|4;u>053oQ0000W0000W00000000000000W0000W000000000000RdB0S5#D2Lu8CPyh%30ssI21OHM03;+TE0RRF71V91*TmT9nP*_-4P*7O^WB"
        "?Wb0Z(vcZc0!{AXa5^ATTaDE-)_tkN^q*00001y8r?IlfW0F00>19Lf$vceb;qeBL*>)@x^BNo~R${2OvE#9hlymf~0&n8j^+t4i689hlhYbLSkS"
        "50Qe5EoLm4Pk$MJEpOD5RF|h%_7NDOGf$%92NCrtK3qe)&B<e_lwgA8ukZLu{R6LtlDvc?P@g(XTA(jBZ3tj+QPy%ommS9wJ(Eif!eAE2CI-S(+r"
        "$f+!djRkEou_446h%=C!!Z8u1+8ZUAba)@f$Y5i!}GurI933_3rYY~Knj4@OOmctvLt+1tX=Cv>Kq}K02y6q{<t8t01t!&px}pf0Kf}M08aoVM&o"
        "%5=80T$NsLM9L+TtMmH^QGr?3Zg05ZPEbO68>+yQh@0$`5gIF92es_VM0>$>Ou1vySrl;t^2Q-Feh0ON5S$8kK5VHk#C82<lHzyJV32ftwm9{q$M"
        "d-f24?6m>^Tfhib0KgW^0aXAcP17_@({vyVA%qbA0w;;$aIrj36NCbN0GeL$_kai{cXt5yfB;nhz!t;-QvfF3d+)t3n4%Cu2=N3@6U5<SJWmsV0("
        "}6Y0r!9aAhfpt{`Y_oRRI6l"
    ),
}
STREAMS = {name: base64.b85decode(text) for name, text in _TEXT.items()}
"""By "kind chroma heightxwidth"."""
