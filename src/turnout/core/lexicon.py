"""Lists the small words that decide what a short question means, for Danish and English.

An embedding hardly feels them: "with" and "without", "before" and "after", "my" and "your" lie beside each other, and the
answers do not. Each table is data for core/lexical_guard.py and holds words as they are compared: case-folded, whole.
Lists are short on purpose. A word that is missing makes the guard stricter in `function` (it then counts as content) and
laxer elsewhere, which is what the score's threshold and the measured rate of false hits are for.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import msgspec


class Lexicon(msgspec.Struct, frozen=True):
    """One language's small words.

    function: carry no content of their own; they also tell the language. numbers: word → digits. negations: turn a
    sentence round. measures: days, months, times and units, each → one form of it. questions: what kind of answer is
    asked for. senses: function words that change the sense, by what they do to it. persons: pronoun → "1", "2" or "3". opposites: word → those that mean the contrary.
    """

    function: frozenset[str]
    numbers: Mapping[str, str]
    negations: frozenset[str]
    measures: Mapping[str, str]
    questions: frozenset[str]
    senses: Mapping[str, str]
    persons: Mapping[str, str]
    opposites: Mapping[str, frozenset[str]]


def _words(table: str) -> frozenset[str]:
    return frozenset(table.split())


def _numbers(first: str, tens: str) -> Mapping[str, str]:
    """first: zero to twelve; tens: "word=digits"."""
    counted = {word: str(number) for number, words in enumerate(first.split()) for word in words.split("/")}
    return MappingProxyType(counted | dict(pair.split("=") for pair in tens.split()))


def _forms(table: str) -> Mapping[str, str]:
    """Each group "day/days" → all of its forms stand for the first."""
    groups = [group.split("/") for group in table.split()]
    return MappingProxyType({form: group[0] for group in groups for form in group})


def _persons(first: str, second: str, third: str) -> Mapping[str, str]:
    groups = zip("123", (first, second, third), strict=True)
    return MappingProxyType({word: person for person, words in groups for word in words.split()})


def _opposites(table: str) -> Mapping[str, frozenset[str]]:
    """Pairs "before/after", both ways; a side may have several forms: "open,opens/close,closes"."""
    found: dict[str, set[str]] = {}
    for pair in table.split():
        left, right = (side.split(",") for side in pair.split("/"))
        for here, there in ((left, right), (right, left)):
            for word in here:
                found.setdefault(word, set()).update(there)
    return MappingProxyType({word: frozenset(words) for word, words in found.items()})


ENGLISH = Lexicon(
    function=_words(
        "a an and any are as at be been but by can could did do does for from get give had has have having hello hey hi "
        "how i if in into is it it's its i'm i'd i've just kindly know let like may me might my need of on or our ours "
        "please shall should so some tell than thank thanks that that's the their them then there these they this those "
        "to us want was we were what what's when where which who whom whose why will with would you your yours he him his "
        "she her hers explain show must am"
    ),
    numbers=_numbers(
        "zero one two three four five six seven eight nine ten eleven twelve",
        "fifteen=15 twenty=20 thirty=30 forty=40 fifty=50 hundred=100 thousand=1000 million=1000000 dozen=12 half=½ "
        "twice=2 double=2 first=1 third=3",
    ),
    negations=_words(
        "not no never without none nobody nothing neither nor cannot cant dont doesnt isnt arent wont unable except "
        "unless instead hardly"
    ),
    measures=_forms(
        "monday/mondays tuesday/tuesdays wednesday/wednesdays thursday/thursdays friday/fridays saturday/saturdays "
        "sunday/sundays january february march april june july august september october november december today "
        "today's/todays tomorrow/tomorrow's yesterday/yesterday's tonight morning/mornings afternoon/afternoons "
        "evening/evenings night/nights noon midnight weekend/weekends weekday/weekdays second/seconds minute/minutes "
        "hour/hours/hourly day/days/daily week/weeks/weekly month/months/monthly quarter/quarters/quarterly "
        "year/years/yearly/annual/annually last next previous spring summer autumn winter holiday/holidays kg/kilo/kilos "
        "g/gram/grams km/kilometre/kilometres mile/miles metre/metres/meter/meters cm mm litre/litres/liter/liters "
        "percent kr/kroner dkk eur/euro/euros usd/dollar/dollars gbp pound/pounds celsius fahrenheit"
    ),
    questions=frozenset(("when", "where", "who", "whom", "whose", "why")),
    senses=_forms(
        "past/was/were/did/had/been future/will/shall duty/should/must/need if or but/though he/him/his she/her/hers"
    ),
    persons=_persons(
        "i i'm i'd i've me my mine myself we us our ours",
        "you your yours yourself",
        "he him his she her hers they them their theirs",
    ),
    opposites=_opposites(
        "before/after buy,buying,bought,purchase/sell,selling,sold,sale open,opens,opened,opening/close,closes,closed,"
        "closing,shut start,starts,starting,begin,begins/stop,stops,stopping,end,ends cancel,cancelling/book,booking,"
        "confirm,renew add,adding,create,creating/remove,removing,delete,deleting enable,enabled,activate/disable,"
        "disabled,deactivate increase,increasing,raise/decrease,decreasing,reduce,lower more,most/less,least,fewer "
        "max,maximum/min,minimum early,earlier,earliest/late,later,latest cheap,cheaper,cheapest/expensive,dear,dearest "
        "import,importing/export,exporting upload,uploading/download,downloading send,sending,sent/receive,receiving,"
        "received login/logout in/out on/off up/down left/right inside/outside above/below over/under best/worst "
        "advantage,advantages,pros/disadvantage,disadvantages,cons new,newest/old,oldest hire/fire lend/borrow "
        "incoming/outgoing arrive,arrival/depart,departure allowed,legal/forbidden,illegal,prohibited install/uninstall "
        "subscribe/unsubscribe connect/disconnect lock/unlock accept,approve/reject,decline employer/employee "
        "buyer/seller customer,client/supplier,vendor private/public,business to/from must/can,may with/without "
        "always/never,sometimes true/false good/bad high,higher,highest/low,lower,lowest increase/lower first/last"
    ),
)

DANISH = Lexicon(
    function=_words(
        "af alle at den der deres det dig din dine dit disse du en er et for forklar fortæl få får gerne gør gøre ham han "
        "har have havde hej hendes her hun hvad hvem hvilke hvilken hvilket hvis hvor hvordan hvorfor hvornår i ind jeg "
        "jer jeres kan kunne lige man med men mig min mine mit må nogen nogle noget når og også om os op på sig sin sine "
        "sit skal skulle som så tak til tro var ved vedrørende vi vil ville vis vise venligst vore vores være været "
        "bede bliver blive brug burde bør da de dem denne dette end eller fra give giv kender"
    ),
    numbers=_numbers(
        "nul én/ét/een to tre fire fem seks syv otte ni ti elleve tolv",
        "femten=15 tyve=20 tredive=30 fyrre=40 halvtreds=50 hundrede=100 tusind=1000 million=1000000 dusin=12 halv=½ "
        "halvdelen=½ dobbelt=2 første=1 anden=2 andet=2 tredje=3",
    ),
    negations=_words(
        "ikke ej aldrig ingen intet uden hverken næppe undtagen medmindre umuligt nej ingenting stedet udover"
    ),
    measures=_forms(
        "mandag/mandage tirsdag/tirsdage onsdag/onsdage torsdag/torsdage fredag/fredage lørdag/lørdage søndag/søndage "
        "januar februar marts april maj juni juli august september oktober november december dag/dage/dagen/daglig/"
        "dagligt morgen/morgenen formiddag middag eftermiddag aften/aftenen nat/natten går weekend/weekenden/weekender "
        "hverdag/hverdage sekund/sekunder minut/minutter time/timer/timen uge/uger/ugen/ugentlig/ugentligt måned/måneder/"
        "måneden/månedlig/månedligt kvartal/kvartaler/kvartalet år/året/årlig/årligt sidste næste forrige forår sommer "
        "efterår vinter ferie/ferien helligdag/helligdage kg/kilo gram km/kilometer meter cm mm kvm/kvadratmeter liter "
        "procent kr/kroner/krone dkk eur/euro usd/dollar pund moms"
    ),
    questions=frozenset(("hvornår", "hvor", "hvem", "hvorfor")),
    senses=_forms(
        "past/var/havde/været/gjorde/blev future/vil/ville duty/skal/skulle/bør/burde hvis eller men han/ham/hans "
        "hun/hende/hendes"
    ),
    persons=_persons(
        "jeg mig min mit mine vi os vores vore",
        "du dig din dit dine jer jeres",
        "han ham hans hun hende hendes de dem deres",
    ),
    opposites=_opposites(
        "før,inden/efter køb,købe,køber,indkøb/salg,sælg,sælge,sælger åbne,åbner,åben,åbent,åbning/lukke,lukker,lukket,"
        "lukning starte,starter,start,begynde,begynder/stoppe,stopper,stop,slutte,slutter,slut aflyse,aflyser,aflys,"
        "afbestille,opsige/booke,book,booker,bestille,bestil,bekræfte,forny tilføje,tilføj,oprette,opret/fjerne,fjern,"
        "slette,slet aktivere,aktiver/deaktivere,deaktiver øge,hæve,forhøje/mindske,sænke,reducere mere,flere,mest,flest/"
        "mindre,færre,mindst,færrest maksimum,maksimal/minimum,minimal tidlig,tidligt,tidligere,tidligst/sen,sent,senere,"
        "senest billig,billigt,billigere,billigst,billigste/dyr,dyrt,dyrere,dyrest,dyreste import,importere/eksport,"
        "eksportere upload,uploade/download,downloade,hente sende,sender,sendt,send/modtage,modtager,modtaget,modtag "
        "ind/ud op/ned venstre/højre indenfor,inde/udenfor,ude over/under bedste,bedst/værste,værst fordele,fordel/"
        "ulemper,ulempe ny,nye,nyt,nyeste/gammel,gamle,gammelt,ældste ansætte/fyre,opsige låne/udlåne indgående/udgående "
        "ankomst,ankomme/afgang,afgå tilladt,lovligt/forbudt,ulovligt godkende,acceptere/afvise kunde,kunden/leverandør,"
        "leverandøren privat/erhverv,offentlig til/fra skal/kan,må med/uden altid/aldrig,nogensinde god,godt/dårlig,"
        "dårligt høj,højere,højest/lav,lavere,lavest første/sidste arbejdsgiver/medarbejder,lønmodtager"
    ),
)
